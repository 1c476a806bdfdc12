{{/* Name of all objects; as long as a label may be, and with room for what is added to it. */}}
{{- define "operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $name = contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of what belongs to no namespace. Operators of different namespaces may be called the same. */}}
{{- define "operator.clusterName" -}}
{{- include "operator.fullname" . -}}{{- with .Values.namespaces -}}-{{ $.Release.Namespace }}{{- end -}}
{{- end -}}

{{/*
Which pods are ours. These two never change: a Deployment's selector can't be edited. The network policies of controllers
let the operator in by app.kubernetes.io/name.
*/}}
{{- define "operator.selector" -}}
app.kubernetes.io/name: majordomo-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "operator.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed with serviceAccount.create: false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "operator.image" -}}
{{- $why := "image.repository is needed: build the image (deploy/image/README.md), push it to a registry of yours, and say --set image.repository=registry.example.com/majordomo" -}}
{{- $repository := required $why .Values.image.repository -}}
{{- if regexMatch ":[^/]*$" $repository -}}
{{- fail (printf "image.repository %s ends with a tag: that is said with image.tag" $repository) -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "operator.leaseName" -}}
{{- default (include "operator.fullname" .) .Values.leaseName -}}
{{- end -}}

{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.serviceAccount" . }}
  namespace: {{ .Release.Namespace | quote }}
{{- end -}}
