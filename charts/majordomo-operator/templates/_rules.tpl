{{/*
What the operator may do in a namespace. No right to everything (`*`), no escalate, no bind, no exec: pods of replicas have a
ServiceAccount without any right, so nothing is handed on that the operator would need itself. A Secret can't be chosen by a
label in a rule: the operator may read all of its namespaces, because users name their own in a HAController.
*/}}
{{- define "operator.rules.namespace" -}}
# Controllers: it sets its finaliser on them, and writes their status.
- apiGroups: [majordomo.dev]
  resources: [hacontrollers]
  verbs: [get, list, watch, patch]
- apiGroups: [majordomo.dev]
  resources: [hacontrollers/status]
  verbs: [patch]
# Asked for where clusters check who may make an owner wait for what it owns, as OpenShift does.
- apiGroups: [majordomo.dev]
  resources: [hacontrollers/finalizers]
  verbs: [update]
# What a controller is made of.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [create, delete, get, list, patch, watch]
# What was rolled out is written once, and deleted when nothing refers to it any more.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [create, delete, get, list, watch]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [create, delete, get, list, patch, watch]
# Keys and passwords are made once. They are never changed and never deleted: that is for people.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, get, list, watch]
# These go with the controller that owns them.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [create, get, list, patch, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, get, list, patch, watch]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [create, delete, get, list, patch, watch]
# Volumes are made and made larger. They are never deleted: that is for people.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [create, get, list, patch, watch]
# Pods are made by their StatefulSet. One that is replaced is deleted, and one on a vanished node by force.
- apiGroups: [""]
  resources: [pods]
  verbs: [delete, get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
# What may be there besides; without it these rules mean nothing.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [create, delete, get, list, patch, watch]
- apiGroups: [route.openshift.io]
  resources: [routes]
  verbs: [create, delete, get, list, patch, watch]
# A Route that says its host.
- apiGroups: [route.openshift.io]
  resources: [routes/custom-host]
  verbs: [create, update]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [create, delete, get, list, patch, watch]
# A database is never deleted.
- apiGroups: [postgresql.cnpg.io]
  resources: [clusters]
  verbs: [create, get, list, patch, watch]
{{- end -}}

{{/* What it looks at of the cluster as a whole; it changes nothing there. */}}
{{- define "operator.rules.cluster" -}}
# Whether the node of a silent pod is gone.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
# Whether a class that was asked for is there, and whether its volumes can be made larger.
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list]
- apiGroups: [networking.k8s.io]
  resources: [ingressclasses]
  verbs: [get]
{{- end -}}
