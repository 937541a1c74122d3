{{/* Names and labels. */}}

{{- define "recstream.chartName" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 36 characters, so that whatever is added stays below every limit; what is cut gets a hash. */}}
{{- define "recstream.fullname" -}}
{{- $name := include "recstream.chartName" . }}
{{- $full := .Values.fullnameOverride }}
{{- if not $full }}
{{- $full = ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- end }}
{{- if gt (len $full) 36 }}
{{- $full = printf "%s-%s" ($full | trunc 27 | trimSuffix "-") ($full | sha256sum | trunc 8) }}
{{- end }}
{{- $full }}
{{- end }}

{{- define "recstream.namespace" -}}
{{ default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Of an object: dict root, component (may be empty). */}}
{{- define "recstream.selector" -}}
app.kubernetes.io/name: {{ include "recstream.chartName" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* dict root, component, labels (a list of maps). Ours outrank, for selectors and policies go by them. */}}
{{- define "recstream.labels" -}}
{{- $ours := include "recstream.selector" . | fromYaml }}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $ours "app.kubernetes.io/part-of" "recstream" }}
{{- $_ := set $ours "app.kubernetes.io/version" (.root.Chart.AppVersion | trunc 63) }}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63) }}
{{- $all := dict }}
{{- range concat (list .root.Values.commonLabels) (default list .labels) (list $ours) }}
{{- $all = mergeOverwrite $all (deepCopy .) }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{/* metadata of an object: dict root, component, suffix, labels, annotations (lists of maps), namespace. */}}
{{- define "recstream.metadata" -}}
name: {{ printf "%s%s" (include "recstream.fullname" .root) (ternary (printf "-%s" (toString .suffix)) "" (hasKey . "suffix")) | quote }}
namespace: {{ default (include "recstream.namespace" .root) .namespace | quote }}
labels:
  {{- include "recstream.labels" . | nindent 2 }}
{{- $annotations := deepCopy .root.Values.commonAnnotations }}
{{- range default list .annotations }}
{{- $annotations = mergeOverwrite $annotations (deepCopy .) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* DNS name of a Service of ours: dict root, suffix. */}}
{{- define "recstream.host" -}}
{{ include "recstream.fullname" .root }}-{{ .suffix }}.{{ include "recstream.namespace" .root }}.svc.{{ .root.Values.clusterDomain }}
{{- end }}

{{- define "recstream.serviceAccount" -}}
{{ default (ternary (include "recstream.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* dict root, image, public: whether it is somebody else's, which lies in no registry of ours. */}}
{{- define "recstream.image" -}}
{{- $registry := coalesce .root.Values.global.imageRegistry .image.registry (ternary "" .root.Values.image.registry (default false .public)) }}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end }}
{{- end }}

{{/* List of `name: x` entries from global.imagePullSecrets and imagePullSecrets. */}}
{{- define "recstream.pullSecrets" -}}
{{- $found := list }}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- $found = append $found (ternary (dict "name" .) . (kindIs "string" .)) }}
{{- end }}
{{- with $found | uniq }}
{{- toYaml . }}
{{- end }}
{{- end }}
