{{- /* The parts that both monitors have. Expects .root, and .monitor: the values of it. */}}
{{- define "rotator.monitorTarget" -}}
namespaceSelector:
  matchNames: [{{ .root.Release.Namespace }}]
selector:
  matchLabels:
    {{- include "rotator.daemonSelector" .root | nindent 4 }}
{{- end }}

{{- define "rotator.monitorEndpoint" -}}
port: metrics
interval: {{ .monitor.interval }}
{{- with .monitor.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  # The alerts and the dashboard select by it: one release, one job.
  - {targetLabel: job, replacement: {{ include "rotator.fullname" .root | quote }}}
  {{- with .monitor.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
