{{/* The series of this release's pods; the labels are those that Prometheus' operator gives them. */}}
{{- define "giftcheck.series" -}}
{{- printf "namespace=%q,pod=~%q" .Release.Namespace (printf "%s-[0-9]+" (include "giftcheck.fullname" .)) -}}
{{- end -}}

{{/*
The groups of alerts/rules.yaml with thresholds and series filled in; each alert gets the release's
namespace, for routing, and its place in the runbook. Numbers are rendered by toJson: {{ 1000000.0 }}
would print 1e+06.
*/}}
{{- define "giftcheck.alertGroups" -}}
{{- $rule := .Values.monitoring.prometheusRule -}}
{{- $filled := dict
      "Template" .Template
      "S" (include "giftcheck.series" .)
      "T" $rule.thresholds
      "batchSizeMax" .Values.check.batchSizeMax
      "partitions" (int64 .Values.kafka.giftSentPartitions) -}}
{{- $groups := list -}}
{{- $file := tpl (.Files.Get "alerts/rules.yaml") $filled | fromYaml -}}
{{- with $file.Error -}}{{- fail (printf "alerts/rules.yaml: %s" .) -}}{{- end -}}
{{- range $file.groups -}}
{{- $alerts := list -}}
{{- range .rules -}}
{{- if not (has .alert $rule.disabled) -}}
{{- $_ := set .labels "namespace" $.Release.Namespace -}}
{{- $_ := set . "labels" (merge .labels $rule.ruleLabels) -}}
{{- $_ := set .annotations "runbook_url" (printf "%s#%s" $rule.runbookUrlBase (lower .alert)) -}}
{{- $alerts = append $alerts . -}}
{{- end -}}
{{- end -}}
{{- if $alerts -}}
{{- $groups = append $groups (dict "name" .name "rules" $alerts) -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $groups $rule.additionalGroups) -}}
{{- end -}}
