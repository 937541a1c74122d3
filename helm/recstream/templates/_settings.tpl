{{/* recstream's settings as YAML, from other values and `config`. Credentials are in the environment. */}}

{{- define "recstream.kafka.bootstrap" -}}
{{- if .Values.kafka.bundled.enabled }}{{ include "recstream.host" (dict "root" . "suffix" "kafka") }}:9092{{ else }}{{ .Values.kafka.bootstrap }}{{ end }}
{{- end }}

{{- define "recstream.valkey.addresses" -}}
{{- if .Values.valkey.bundled.enabled }}
{{- list (printf "%s:6379" (include "recstream.host" (dict "root" . "suffix" "valkey"))) | toJson }}
{{- else }}
{{- .Values.valkey.addresses | toJson }}
{{- end }}
{{- end }}

{{- define "recstream.triton.address" -}}
{{- if .Values.triton.enabled }}{{ include "recstream.host" (dict "root" . "suffix" "triton") }}:{{ .Values.triton.ports.grpc }}{{ else }}{{ .Values.triton.address }}{{ end }}
{{- end }}

{{- define "recstream.kafka.protocol" -}}
{{ if .Values.kafka.sasl.mechanism }}SASL_{{ end }}{{ ternary "SSL" "PLAINTEXT" .Values.kafka.tls.enabled }}
{{- end }}

{{- define "recstream.settings.kafka" -}}
{{- $kafka := .Values.kafka }}
bootstrap: {{ include "recstream.kafka.bootstrap" . | quote }}
topic_prefix: {{ $kafka.topicPrefix | quote }}
partitions: {{ $kafka.partitions | int }}
replication: {{ $kafka.replication | int }}
security_protocol: {{ include "recstream.kafka.protocol" . }}
{{- with $kafka.sasl.mechanism }}
sasl_mechanism: {{ . }}
{{- end }}
{{- if and $kafka.tls.enabled $kafka.tls.existingSecret }}
{{- range $setting, $key := dict "ssl_ca_file" $kafka.tls.caKey "ssl_certificate_file" $kafka.tls.certKey "ssl_key_file" $kafka.tls.keyKey }}
{{- with $key }}
{{ $setting }}: /etc/recstream/kafka-tls/{{ . }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "recstream.settings.store" -}}
{{- $valkey := .Values.valkey }}
addresses: {{ include "recstream.valkey.addresses" . }}
cluster: {{ and $valkey.cluster (not $valkey.bundled.enabled) }}
database: {{ $valkey.database | int }}
{{- with $valkey.auth.username }}
username: {{ . | quote }}
{{- end }}
tls: {{ $valkey.tls.enabled }}
{{- if and $valkey.tls.enabled $valkey.tls.existingSecret }}
tls_ca_file: /etc/recstream/valkey-tls/{{ $valkey.tls.caKey }}
{{- end }}
{{- end }}

{{- define "recstream.settings.triton" -}}
address: {{ include "recstream.triton.address" . | quote }}
tls: {{ and .Values.triton.tls (not .Values.triton.enabled) }}
{{- end }}

{{- define "recstream.settings.server" -}}
port: {{ .Values.server.ports.grpc | int }}
http_port: {{ .Values.server.ports.http | int }}
drain_seconds: {{ .Values.server.drainSeconds }}
{{- end }}

{{/* The settings of these rooms: dict root, rooms, port (of ingest's health). */}}
{{- define "recstream.settings" -}}
{{- $root := .root }}
{{- $all := dict }}
{{- /* With other backends `recstream model repository` writes there, and Triton watches the folder. */}}
{{- if and $root.Values.triton.enabled (eq $root.Values.triton.backend "python") }}
{{- $_ := set $all "repository" "/models/repository" }}
{{- end }}
{{- range $name := .rooms }}
{{- $room := dict }}
{{- if has . (list "kafka" "store" "triton" "server") }}
{{- $room = include (printf "recstream.settings.%s" .) $root | fromYaml }}
{{- else if eq . "ingest" }}
{{- $room = dict "health_host" "0.0.0.0" "health_port" (int $.port) }}
{{- end }}
{{- with mergeOverwrite (deepCopy (default dict (get $root.Values.config .))) $room }}
{{- $_ := set $all $name . }}
{{- end }}
{{- end }}
{{- toYaml $all }}
{{- end }}
