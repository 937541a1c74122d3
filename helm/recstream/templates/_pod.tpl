{{/* What all pods have in common. The context of a workload is a dict:
root, component, values (its part of the values), and optionally
config: the suffix of the ConfigMap of its settings; the container then gets settings and credentials
models: "ro" or "rw", how it mounts /models
public: true if the image is a third party's
mounts, volumes: further lists */}}

{{/* The metadata of the pod template. */}}
{{- define "recstream.pod.metadata" -}}
labels:
  {{- $labels := mergeOverwrite (deepCopy .root.Values.commonLabels) (deepCopy .values.podLabels) (include "recstream.selector" . | fromYaml) }}
  {{- toYaml $labels | nindent 2 }}
{{- $annotations := mergeOverwrite (deepCopy .root.Values.commonAnnotations) (deepCopy .values.podAnnotations) }}
{{- with .config }}
{{- $_ := set $annotations "recstream/settings" (include (printf "recstream.config.%s" .) $.root | sha256sum) }}
{{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The pod's spec without containers and volumes. */}}
{{- define "recstream.pod.settings" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "recstream.serviceAccount" .root | quote }}
automountServiceAccountToken: {{ $values.serviceAccount.automountToken }}
enableServiceLinks: false
{{- with include "recstream.pullSecrets" .root }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with mergeOverwrite (deepCopy $values.podSecurityContext) (deepCopy .values.podSecurityContext) }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.terminationGracePeriodSeconds }}
terminationGracePeriodSeconds: {{ . | int }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with default $values.nodeSelector .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with default $values.affinity .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (default $values.tolerations .values.tolerations) (default list .tolerations) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $constraint := deepCopy . }}
  {{- if not $constraint.labelSelector }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "recstream.selector" $ | fromYaml)) }}
  {{- $_ := set $constraint "matchLabelKeys" (list (ternary "controller-revision-hash" "pod-template-hash" (eq $.component "triton"))) }}
  {{- end }}
  - {{- toYaml $constraint | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Begins with a line break, or is empty. */}}
{{- define "recstream.securityContext" }}
{{- with mergeOverwrite (deepCopy .root.Values.containerSecurityContext) (deepCopy .values.containerSecurityContext) }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The container's image, security context, environment, resources and mounts. The workload adds the rest. */}}
{{- define "recstream.container" -}}
image: {{ include "recstream.image" (dict "root" .root "image" .values.image "public" .public) | quote }}
imagePullPolicy: {{ default .root.Values.image.pullPolicy .values.image.pullPolicy }}
{{- include "recstream.securityContext" . }}
env:
  {{- include "recstream.environment" . | nindent 2 }}
{{- with .values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .resources | default .values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "recstream.mounts" . | nindent 2 }}
{{- end }}

{{- define "recstream.environment" -}}
- {name: HOME, value: /tmp}
{{- if .config }}
- {name: RECSTREAM_CONFIG, value: /etc/recstream/settings/recstream.yaml}
{{- /* Set in the environment, which takes precedence over the file, because the images set it there, too. */}}
- {name: RECSTREAM_BUNDLES, value: /models/bundles}
{{- with .root.Values.kafka.sasl }}
{{- if .mechanism }}
- name: RECSTREAM_KAFKA__USERNAME
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .usernameKey | quote }}}}
- name: RECSTREAM_KAFKA__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .passwordKey | quote }}}}
{{- end }}
{{- end }}
{{- with .root.Values.valkey.auth }}
{{- if .existingSecret }}
- name: RECSTREAM_STORE__PASSWORD
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .passwordKey | quote }}}}
{{- end }}
{{- end }}
{{- with .values.tokenKeys }}
{{- if .existingSecret }}
- name: RECSTREAM_SERVER__TOKEN_KEYS
  valueFrom: {secretKeyRef: {name: {{ .existingSecret | quote }}, key: {{ .secretKey | quote }}}}
{{- end }}
{{- end }}
{{- with .root.Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- with .values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "recstream.mounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .config }}
- {name: settings, mountPath: /etc/recstream/settings, readOnly: true}
{{- range $server := list "kafka" "valkey" }}
{{- with (get $.root.Values $server).tls }}
{{- if and .enabled .existingSecret }}
- {name: {{ $server }}-tls, mountPath: /etc/recstream/{{ $server }}-tls, readOnly: true}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- with .models }}
- {name: models, mountPath: /models, readOnly: {{ eq . "ro" }}}
{{- end }}
{{- with .mounts }}
{{ toYaml . }}
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "recstream.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: {{ .values.tmpSize }}}
{{- if .config }}
- name: settings
  configMap: {name: {{ include "recstream.fullname" .root }}-{{ .config }}}
{{- range $server := list "kafka" "valkey" }}
{{- with (get $.root.Values $server).tls }}
{{- if and .enabled .existingSecret }}
- name: {{ $server }}-tls
  secret: {secretName: {{ .existingSecret | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .models }}
{{- with .root.Values.models }}
- name: models
  {{- if .persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ default (printf "%s-models" (include "recstream.fullname" $.root)) .persistence.existingClaim | quote }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .size }}}
  {{- end }}
{{- end }}
{{- end }}
{{- with .volumes }}
{{ toYaml . }}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The container that fetches bundles and the repository, if it is enabled. */}}
{{- define "recstream.fetch" -}}
{{- $fetch := .root.Values.models.fetch }}
{{- if $fetch.enabled }}
- name: fetch
  image: {{ $fetch.image | quote }}
  {{- with $fetch.command }}
  command: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $fetch.args }}
  args: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "recstream.securityContext" . | indent 2 }}
  env:
    - {name: HOME, value: /tmp}
    {{- with $fetch.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $fetch.envFrom }}
  envFrom: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $fetch.resources }}
  resources: {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: models, mountPath: /models}
{{- end }}
{{- end }}

{{/* The user's own containers, with templates evaluated: dict root, containers. */}}
{{- define "recstream.own" -}}
{{- with .containers }}
{{- tpl (toYaml .) $.root }}
{{- end }}
{{- end }}

{{/* A probe: dict given (the values), action (the default). */}}
{{- define "recstream.probe" -}}
{{- if or .given.httpGet .given.exec .given.grpc .given.tcpSocket }}
{{- toYaml .given }}
{{- else }}
{{- toYaml (mergeOverwrite (deepCopy .given) .action) }}
{{- end }}
{{- end }}
