{{- define "throttle-monitor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "throttle-monitor.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What pods are selected by: a DaemonSet's cannot be changed later. */}}
{{- define "throttle-monitor.selector" -}}
app.kubernetes.io/name: {{ include "throttle-monitor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "throttle-monitor.labels" -}}
{{- with .Values.commonLabels }}{{ toYaml . }}
{{ end -}}
{{ include "throttle-monitor.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "throttle-monitor.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "throttle-monitor.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "throttle-monitor.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- if $image.tag -}}
{{- printf "%s:%s@%s" $image.repository $image.tag $image.digest -}}
{{- else -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- end -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* `off` without quotes is false in YAML. */}}
{{- define "throttle-monitor.guard" -}}
{{- if .Values.guard.mode }}{{ .Values.guard.mode }}{{ else }}off{{ end -}}
{{- end -}}

{{/* A map as TOML: values first, then tables. JSON's strings, numbers and lists are TOML's. */}}
{{- define "throttle-monitor.toml" -}}
{{- $path := .path -}}
{{- range $key, $value := .map }}
{{- if and (not (kindIs "map" $value)) (not (kindIs "invalid" $value)) }}
{{ $key }} = {{ toRawJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .map }}
{{- if kindIs "map" $value }}
{{- $table := append $path $key }}
{{- $lines := include "throttle-monitor.toml" (dict "map" $value "path" $table) }}
{{- if $lines }}

[{{ join "." $table }}]
{{- $lines }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The site's configuration, and what follows from other values. */}}
{{- define "throttle-monitor.config" -}}
{{- $web := dict "listen-address" (list (printf "%s:%d" .Values.web.listenAddress (int .Values.web.port))) -}}
{{- if .Values.web.enableLifecycle }}{{ $_ := set $web "enable-lifecycle" true }}{{ end -}}
{{- if .Values.web.secretName }}{{ $_ := set $web "config" (dict "file" "/etc/throttle-monitor-web/web.yml") }}{{ end -}}
{{- $config := dict "web" $web "path" (dict "procfs" "/host/proc") -}}
{{- $guard := include "throttle-monitor.guard" . -}}
{{- if ne $guard "off" }}{{ $_ := set $config "guard" (dict "mode" $guard "socket" "/run/guard/guard.sock") }}{{ end -}}
{{- include "throttle-monitor.toml" (dict "map" (mergeOverwrite (deepCopy .Values.config) $config) "path" list) | trim -}}
{{- end -}}

{{/* One probe: times, and how to ask. */}}
{{- define "throttle-monitor.probe" -}}
{{- $web := .root.Values.web -}}
{{- if eq $web.probes "tcp" -}}
tcpSocket:
  port: http-metrics
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http-metrics
  {{- if eq $web.scheme "https" }}
  scheme: HTTPS
  {{- end }}
  {{- with $web.probeHeaders }}
  httpHeaders:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{ toYaml .times }}
{{- end -}}
