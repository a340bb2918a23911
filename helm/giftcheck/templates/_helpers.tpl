{{- define "giftcheck.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
The name of everything: the release's, and the chart's where the release does not say it. At most
52 characters: pods carry it with a hash of 11 in a label, which may have 63.
*/}}
{{- define "giftcheck.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $ofRelease := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $ofRelease .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "giftcheck.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "giftcheck.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* What every pod of the release has, those of tests and jobs too. */}}
{{- define "giftcheck.releaseLabels" -}}
app.kubernetes.io/name: {{ include "giftcheck.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* What consumers are selected by: immutable, so nothing that a release changes. */}}
{{- define "giftcheck.selectorLabels" -}}
{{ include "giftcheck.releaseLabels" . }}
app.kubernetes.io/component: consumer
{{- end -}}

{{/*
Labels of a pod, with more of its own, by (list $ "component" more). No version of the chart is among
them: every new one would replace the pods.
*/}}
{{- define "giftcheck.podLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict "app.kubernetes.io/component" (index . 1) -}}
{{- merge $own (include "giftcheck.releaseLabels" $root | fromYaml) (index . 2) $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{/* Labels of any other object, by (list $ "component"). */}}
{{- define "giftcheck.labelsOf" -}}
{{- $root := index . 0 -}}
{{- $own := dict
      "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/version" $root.Chart.AppVersion
      "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- include "giftcheck.podLabels" (list $root (index . 1) $own) -}}
{{- end -}}

{{/* Labels of all that belongs to the consumers. */}}
{{- define "giftcheck.labels" -}}
{{ include "giftcheck.labelsOf" (list . "consumer") }}
{{- end -}}

{{/* The digest wins over the tag, and the tag over the application's version. */}}
{{- define "giftcheck.image" -}}
{{- with .Values.image -}}
{{- $repository := empty .registry | ternary .repository (printf "%s/%s" .registry .repository) -}}
{{- if .digest -}}
{{- printf "%s@%s" $repository .digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
