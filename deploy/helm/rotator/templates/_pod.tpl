{{- /* What every pod of ours is: expects the context as .root, the command's arguments as .args, and the .component. */}}
{{- define "rotator.podSpec" -}}
{{- $root := .root -}}
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
securityContext:
  runAsNonRoot: true
  {{- with $values.runAsUser }}
  runAsUser: {{ . | int64 }}
  runAsGroup: {{ . | int64 }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
containers:
  - name: rotator
    image: {{ include "rotator.image" $root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{ toJson .args }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    {{- if or $values.env $values.vaultCa.configMap $values.vaultCa.secret }}
    env:
      {{- if or $values.vaultCa.configMap $values.vaultCa.secret }}
      - name: VAULT_CACERT
        value: /etc/rotator-vault-ca/ca.crt
      {{- end }}
      {{- with $values.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- end }}
    {{- with $values.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if eq .component "daemon" }}
    ports:
      - name: metrics
        containerPort: {{ include "rotator.port" $root }}
    startupProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: 60
    livenessProbe:
      httpGet: {path: /healthz, port: metrics}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 6
    readinessProbe:
      httpGet: {path: /readyz, port: metrics}
      periodSeconds: 10
      timeoutSeconds: 5
      failureThreshold: 2
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
      {{- with $values.volumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "rotator.fullname" $root }}
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
  {{- with $values.volumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- /* A daemon's pod. What it does not take over by itself when the file changes is hashed, so that it is restarted. */}}
{{- define "rotator.daemonTemplate" -}}
{{- $fixed := regexFindAll "\\b(?:listen|concurrency|shard)\\s*=\\s*[^\\n,}]*" (include "rotator.toml" .root) -1 -}}
metadata:
  labels:
    {{- include "rotator.labels" .root | nindent 4 }}
    app.kubernetes.io/component: daemon
    {{- with .root.Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/restart: {{ $fixed | join "\n" | sha256sum }}
    {{- with .root.Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- include "rotator.podSpec" (merge (dict "component" "daemon") .) | nindent 2 }}
  {{- with .root.Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ toYaml . | indent 6 | trim }}
      labelSelector:
        matchLabels:
          {{- include "rotator.selector" $.root | nindent 10 }}
          app.kubernetes.io/component: daemon
    {{- end }}
  {{- end }}
{{- end }}
