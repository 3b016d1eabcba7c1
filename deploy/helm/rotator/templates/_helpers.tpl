{{- define "rotator.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* Short enough for the suffixes that Kubernetes appends: the name of a CronJob can have 52 characters. */}}
{{- define "rotator.fullname" -}}
{{- $name := include "rotator.name" . }}
{{- $both := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $both | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "rotator.selector" -}}
app.kubernetes.io/name: {{ include "rotator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "rotator.daemonSelector" -}}
{{ include "rotator.selector" . }}
app.kubernetes.io/component: daemon
{{- end }}

{{- /* The chart's labels first: those of the values cannot replace them. Expects .root, and takes .labels and .component. */}}
{{- define "rotator.labels" -}}
{{- $own := include "rotator.selector" .root | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) }}
{{- with .component }}
{{- $_ := set $own "app.kubernetes.io/component" . }}
{{- end }}
{{- merge $own (.labels | default dict) .root.Values.commonLabels | toYaml }}
{{- end }}

{{- /* The metadata of an object. Expects .root, and takes .name, .namespace, .component, .labels and .annotations. */}}
{{- define "rotator.metadata" -}}
name: {{ .name | default (include "rotator.fullname" .root) }}
{{- with .namespace }}
namespace: {{ . }}
{{- end }}
labels:
  {{- include "rotator.labels" . | nindent 2 }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "rotator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "rotator.fullname" .) }}
{{- else }}
{{- required "serviceAccount.name is empty: name the service account, or set serviceAccount.create" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "rotator.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "rotator.configMapName" -}}
{{- .Values.existingConfigMap | default (include "rotator.fullname" .) }}
{{- end }}

{{- /* config.toml, from `config` or `configToml`. */}}
{{- define "rotator.toml" -}}
{{- if .Values.configToml }}
{{- .Values.configToml | trim }}
{{- else }}
{{- if not .Values.config.accounts }}
{{- fail "config.accounts is empty: name the accounts to rotate, as in config.example.toml" }}
{{- end }}
{{- if not .Values.config.vault.address }}
{{- fail "config.vault.address is empty: set the address of Vault" }}
{{- end }}
{{- toToml .Values.config | trim }}
{{- end }}
{{- end }}

{{- /* The daemon's settings as JSON, from the source that is in use. */}}
{{- define "rotator.daemon" -}}
{{- $config := .Values.config }}
{{- if .Values.configToml }}
{{- $config = fromToml .Values.configToml }}
{{- with $config.Error }}
{{- fail (printf "configToml is not valid TOML: %s" .) }}
{{- end }}
{{- end }}
{{- $config.daemon | default dict | toJson }}
{{- end }}

{{- /* The names of the Service and of a StatefulSet's pods, which a Host header can contain; no web site can have them. */}}
{{- define "rotator.serviceNames" -}}
{{- $name := include "rotator.fullname" . }}
{{- $names := list $name }}
{{- range $suffix := list "" ".svc" (printf ".svc.%s" .Values.clusterDomain) }}
{{- $full := printf "%s.$(POD_NAMESPACE)%s" $name $suffix }}
{{- $names = append $names $full }}
{{- if eq $.Values.mode "statefulset" }}
{{- $names = append $names (printf "*.%s" $full) }}
{{- end }}
{{- end }}
{{- $names | toJson }}
{{- end }}

{{- define "rotator.listen" -}}
{{- (include "rotator.daemon" . | fromJson).listen | default ":9464" }}
{{- end }}

{{- define "rotator.port" -}}
{{- include "rotator.listen" . | regexFind "[0-9]+$" }}
{{- end }}

{{- define "rotator.shutdownTimeout" -}}
{{- (include "rotator.daemon" . | fromJson).shutdown_timeout | default "25s" }}
{{- end }}

{{- /* daemon.shutdown_timeout, rounded up, and some seconds until the process has ended. */}}
{{- define "rotator.gracePeriod" -}}
{{- $seconds := 5 }}
{{- range regexFindAll "[0-9]+(?:d|h|ms|m|s)" (include "rotator.shutdownTimeout" .) -1 }}
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
{{- fail (printf "%s.enabled: a cronjob has no metrics; use mode deployment or statefulset" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.volumeClaimTemplates (ne .Values.mode "statefulset") }}
{{- fail "volumeClaimTemplates: only mode statefulset has them; use extraVolumes with a persistentVolumeClaim" }}
{{- end }}
{{- if and .Values.vaultCa.configMap .Values.vaultCa.secret }}
{{- fail "vaultCa: name a configMap or a secret, not both" }}
{{- end }}
{{- if and .Values.existingConfigMap (or .Values.configToml .Values.config.accounts) }}
{{- fail "existingConfigMap: remove configToml and config.accounts, which it replaces" }}
{{- end }}
{{- end }}
