{{- define "overworld.name" -}}
{{- .Values.fullnameOverride | default .Release.Name -}}
{{- end }}

{{- define "overworld.games" -}}
{{- .Values.games.namespace | default (printf "%s-games" (include "overworld.name" .)) -}}
{{- end }}

{{- define "overworld.diskClass" -}}
{{- .Values.storage.disk.className | default (printf "%s-world" (include "overworld.name" .)) -}}
{{- end }}

{{- define "overworld.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end }}

{{/* What never changes: for selectors. Takes a list: the root, the component. */}}
{{- define "overworld.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: overworld
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of an object of a component: the root, the component. */}}
{{- define "overworld.labels" -}}
{{- $root := index . 0 -}}
{{ include "overworld.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* What outlives the release, for servers run on. */}}
{{- define "overworld.kept" -}}
helm.sh/resource-policy: keep
{{- end }}
