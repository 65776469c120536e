package broker

import (
	"strings"
	"unicode/utf8"
)

// topicFault says why t may not be the topic of a message, or nothing (MQTT 3.1.1 section 4.7).
func topicFault(t string) string {
	switch {
	case t == "":
		return "it is empty"
	case strings.ContainsAny(t, "+#"):
		return "+ and # belong into filters only"
	case strings.Contains(t, "\x00") || !utf8.ValidString(t):
		return "it is not UTF-8 text"
	}
	return ""
}

// filterFault says what is wrong with a topic filter, or nothing.
func filterFault(f string) string {
	if f == "" {
		return "it is empty"
	}
	if strings.Contains(f, "\x00") || !utf8.ValidString(f) {
		return "it is not UTF-8 text"
	}
	for rest, more := f, true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && more:
			return "nothing may follow #"
		case level != "#" && strings.Contains(level, "#"):
			return "# must stand alone in its level"
		case level != "+" && strings.Contains(level, "+"):
			return "+ must stand alone in its level"
		}
	}
	return ""
}

// Matches reports whether a topic falls under a filter. A wildcard in the first level matches no topic
// that starts with $.
func Matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		want, filterRest, moreFilter := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		have, topicRest, moreTopic := strings.Cut(topic, "/")
		if want != "+" && want != have {
			return false
		}
		switch {
		case !moreTopic:
			return !moreFilter || filterRest == "#" // a/# matches a, too
		case !moreFilter:
			return false
		}
		filter, topic = filterRest, topicRest
	}
}
