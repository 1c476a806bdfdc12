{{/* What the API server would refuse is refused with a sentence. */}}
{{- define "controller.name" -}}
{{- $name := default .Release.Name .Values.name -}}
{{- if or (gt (len $name) 52) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name)) -}}
{{- fail (printf "the name %q is not 1 to 52 of a-z, 0-9 and -, a letter first and no - last: say --set name=…" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}
