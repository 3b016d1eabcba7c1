{{- /* The specification of each pod. Expects .root, the arguments of the command as .args, and the .component. */}}
{{- define "rotator.podSpec" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ include "rotator.serviceAccountName" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "rotator.gracePeriod" $root }}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.extraInitContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: rotator
    image: {{ include "rotator.image" $root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{ toJson .args }}
    {{- with $values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with include "rotator.env" . }}
    env:
      {{- . | nindent 6 }}
    {{- end }}
    {{- with $values.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if eq $component "daemon" }}
    ports:
      - name: metrics
        containerPort: {{ include "rotator.port" $root }}
    {{- range $probe, $path := dict "startupProbe" "/healthz" "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
    {{ $probe }}:
      httpGet: {path: {{ $path }}, port: metrics}
      {{- toYaml (index $values $probe) | nindent 6 }}
    {{- end }}
    {{- end }}
    resources:
      {{- toYaml $values.resources | nindent 6 }}
    volumeMounts:
      # The folder, not the file by subPath: only so does a change of the ConfigMap reach it.
      - name: config
        mountPath: /etc/rotator
        readOnly: true
      {{- if $values.vaultToken.enabled }}
      - name: vault-token
        mountPath: /var/run/secrets/vault
        readOnly: true
      {{- end }}
      {{- if or $values.vaultCa.configMap $values.vaultCa.secret }}
      - name: vault-ca
        mountPath: /etc/rotator-vault-ca
        readOnly: true
      {{- end }}
      {{- with $values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
  {{- if ne $component "check" }}
  {{- with $values.extraContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "rotator.configMapName" $root }}
  {{- if $values.vaultToken.enabled }}
  - name: vault-token
    projected:
      sources:
        - serviceAccountToken:
            path: token
            audience: {{ $values.vaultToken.audience | quote }}
            expirationSeconds: {{ $values.vaultToken.expirationSeconds | int64 }}
  {{- end }}
  {{- with $values.vaultCa.configMap }}
  - name: vault-ca
    configMap:
      name: {{ . }}
      items: [{key: {{ $values.vaultCa.key | quote }}, path: ca.crt}]
  {{- end }}
  {{- with $values.vaultCa.secret }}
  - name: vault-ca
    secret:
      secretName: {{ . }}
      items: [{key: {{ $values.vaultCa.key | quote }}, path: ca.crt}]
  {{- end }}
  {{- if eq $component "check" }}
  {{- range $values.volumeClaimTemplates }}
  - name: {{ .metadata.name }}
    emptyDir: {}
  {{- end }}
  {{- end }}
  {{- with $values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* The variables of rotator's container; expects the same as the pod's specification. */}}
{{- define "rotator.env" -}}
{{- $values := .root.Values -}}
{{- $env := list }}
{{- if eq .component "daemon" }}
{{- $env = append $env (dict "name" "POD_NAMESPACE" "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.namespace"))) }}
{{- $env = append $env (dict "name" "ROTATOR_DAEMON__SERVICE_NAMES" "value" (include "rotator.serviceNames" .root)) }}
{{- end }}
{{- if $values.existingConfigMap }}
{{- $env = append $env (dict "name" "ROTATOR_DAEMON__LISTEN" "value" (include "rotator.listen" .root)) }}
{{- $env = append $env (dict "name" "ROTATOR_DAEMON__SHUTDOWN_TIMEOUT" "value" (include "rotator.shutdownTimeout" .root)) }}
{{- end }}
{{- if or $values.vaultCa.configMap $values.vaultCa.secret }}
{{- $env = append $env (dict "name" "VAULT_CACERT" "value" "/etc/rotator-vault-ca/ca.crt") }}
{{- end }}
{{- with concat $env $values.extraEnv }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- /* A daemon's pod. A hash of the settings that a reload cannot change makes Helm replace the pods. */}}
{{- define "rotator.daemonTemplate" -}}
{{- $daemon := include "rotator.daemon" .root | fromJson -}}
{{- $restart := dict "checksum/restart" (pick $daemon "listen" "concurrency" "shard" | toJson | sha256sum) -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "rotator.labels" (dict "root" .root "component" "daemon" "labels" $values.podLabels) | nindent 4 }}
  annotations:
    {{- merge $restart $values.podAnnotations | toYaml | nindent 4 }}
spec:
  {{- $args := concat .args $values.extraArgs }}
  {{- include "rotator.podSpec" (dict "root" .root "component" "daemon" "args" $args) | nindent 2 }}
  {{- with $values.topologySpreadConstraints }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "rotator.daemonSelector" $.root | fromYaml)) }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ merge (dict) . (hasKey . "labelSelector" | ternary (dict) $own) | toYaml | indent 6 | trim }}
    {{- end }}
  {{- end }}
{{- end }}
