{{/* Names and labels. */}}

{{- define "recstream.chartName" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 36 characters, so that every name with a suffix stays below the limits. A cut name ends in a hash. */}}
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

{{/* The selector labels of an object: dict root, component (may be empty). */}}
{{- define "recstream.selector" -}}
app.kubernetes.io/name: {{ include "recstream.chartName" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* All labels of an object: dict root, component, labels (a list of maps). Ours take precedence, because selectors and
policies use them. */}}
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

{{/* The metadata of an object: dict root, component, suffix, labels, annotations (lists of maps), namespace. */}}
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

{{/* The DNS name of one of our Services: dict root, suffix. */}}
{{- define "recstream.host" -}}
{{ include "recstream.fullname" .root }}-{{ .suffix }}.{{ include "recstream.namespace" .root }}.svc.{{ .root.Values.clusterDomain }}
{{- end }}

{{- define "recstream.serviceAccount" -}}
{{ default (ternary (include "recstream.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* An image reference: dict root, image, public (whether it is a third party's, and so not in our registry). */}}
{{- define "recstream.image" -}}
{{- $registry := coalesce .root.Values.global.imageRegistry .image.registry (ternary "" .root.Values.image.registry (default false .public)) }}
{{- with $registry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end }}
{{- end }}

{{/* The list of `name: x` entries from global.imagePullSecrets and imagePullSecrets. */}}
{{- define "recstream.pullSecrets" -}}
{{- $found := list }}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets }}
{{- $found = append $found (ternary (dict "name" .) . (kindIs "string" .)) }}
{{- end }}
{{- with $found | uniq }}
{{- toYaml . }}
{{- end }}
{{- end }}
