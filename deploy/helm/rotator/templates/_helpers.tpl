{{- define "rotator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for what Kubernetes appends: a CronJob's may have 52 characters. */}}
{{- define "rotator.fullname" -}}
{{- $name := include "rotator.name" . }}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $both | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "rotator.selector" -}}
app.kubernetes.io/name: {{ include "rotator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rotator.labels" -}}
{{ include "rotator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "rotator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "rotator.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is empty: say which one to use, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "rotator.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- /* The configuration file, whichever way it was given. */}}
{{- define "rotator.toml" -}}
{{- if .Values.configToml }}
{{- .Values.configToml | trim }}
{{- else }}
{{- if not .Values.config.accounts }}
{{- fail "config.accounts is empty: name the accounts to rotate, as in config.example.toml" }}
{{- end }}
{{- if not .Values.config.vault.address }}
{{- fail "config.vault.address is empty: say where Vault is" }}
{{- end }}
{{- $daemon := .Values.config.daemon | default dict }}
{{- $hosts := concat (include "rotator.serviceNames" . | fromJsonArray) ($daemon.allowed_hosts | default list) }}
{{- set .Values.config "daemon" (set (deepCopy $daemon) "allowed_hosts" ($hosts | uniq)) | toToml | trim }}
{{- end }}
{{- end }}

{{- /* The names of the Service and of a StatefulSet's pods, for the Host header; no web site can have them. */}}
{{- define "rotator.serviceNames" -}}
{{- $name := include "rotator.fullname" . }}
{{- $names := list $name }}
{{- range $suffix := list "" ".svc" ".svc.cluster.local" }}
{{- $full := printf "%s.%s%s" $name $.Release.Namespace $suffix }}
{{- $names = append $names $full }}
{{- if eq $.Values.mode "statefulset" }}
{{- $names = append $names (printf "*.%s" $full) }}
{{- end }}
{{- end }}
{{- $names | toJson }}
{{- end }}

{{- define "rotator.port" -}}
{{- include "rotator.toml" . | regexFind "\\blisten\\s*=\\s*[\"'][^\"'\\n]*" | default ":9464" | regexFind "[0-9]+$" }}
{{- end }}

{{- /* daemon.shutdown_timeout, rounded up, and some seconds for the process to be gone. */}}
{{- define "rotator.gracePeriod" -}}
{{- $text := include "rotator.toml" . | regexFind "\\bshutdown_timeout\\s*=\\s*[\"'][^\"'\\n]*" | default "25s" }}
{{- $seconds := 5 }}
{{- range regexFindAll "[0-9]+(?:d|h|ms|m|s)" $text -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- $number := regexFind "[0-9]+" . | int }}
{{- if eq $unit "ms" }}
{{- $seconds = add $seconds (div (add $number 999) 1000) }}
{{- else }}
{{- $seconds = add $seconds (mul $number (get (dict "d" 86400 "h" 3600 "m" 60 "s" 1) $unit)) }}
{{- end }}
{{- end }}
{{- $seconds }}
{{- end }}

{{- define "rotator.refuse" -}}
{{- if eq .Values.mode "cronjob" }}
{{- range $name := list "serviceMonitor" "podMonitor" "prometheusRule" "dashboard" }}
{{- if (index $.Values $name).enabled }}
{{- fail (printf "%s.enabled: a cronjob has no metrics; take mode deployment or statefulset" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.vaultCa.configMap .Values.vaultCa.secret }}
{{- fail "vaultCa: name a configMap or a secret, not both" }}
{{- end }}
{{- end }}
