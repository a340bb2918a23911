{{/*
Two questions decide how many pods there are. Is a record waiting to be read for too long? Then
more are needed, in proportion (type Value: the lag of a partition does not halve with twice the pods,
but it falls). Do pods hold too many gifts? Their sum does not depend on the number of pods, so it is
shared out (AverageValue). The group's lag as Kafka tells it counts pending gifts and is no measure.
*/}}
{{- define "giftcheck.pendingGiftsTarget" -}}
{{- max 1 (div (mul (int64 .Values.limits.pendingGiftsMax) (int64 .Values.autoscaling.pendingPercentage)) 100) -}}
{{- end -}}

{{/* What is scaled, for either kind of autoscaler. */}}
{{- define "giftcheck.scaleTarget" -}}
apiVersion: apps/v1
kind: StatefulSet
name: {{ include "giftcheck.fullname" . }}
{{- end -}}
