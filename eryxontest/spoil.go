package eryxontest

import "encoding/json"

// How a bulk answer is spoiled.
const (
	spoilOmit = iota
	spoilRepeat
	spoilInvent
	spoilCounts
)

// spoilBody spoils every list of results in a bulk answer, or, where a release
// lists only the failed, that list. Anything else is left as it is.
func spoilBody(body []byte, how int) []byte {
	var doc struct {
		Success bool           `json:"success"`
		Data    map[string]any `json:"data"`
		Error   any            `json:"error,omitempty"`
	}
	if json.Unmarshal(body, &doc) != nil || doc.Data == nil {
		return body
	}
	spoilReport(doc.Data, how)
	if entities, ok := doc.Data["entities"].(map[string]any); ok {
		for _, e := range entities {
			if report, ok := e.(map[string]any); ok {
				spoilReport(report, how)
			}
		}
	}
	out, err := json.Marshal(doc)
	if err != nil {
		return body
	}
	return out
}

// spoilReport spoils one report: {created, results:[…]}, or the shape of v0.8,
// {results:{created, errors:[…]}}.
func spoilReport(report map[string]any, how int) {
	counts, name, idName := report, "results", "external_id"
	invented := map[string]any{"external_id": "INVENTED-1", "id": uuidOf(0), "action": "created"}
	if inner, ok := report["results"].(map[string]any); ok {
		counts, name, idName = inner, "errors", "item"
		invented = map[string]any{"item": map[string]any{"external_id": "INVENTED-1"}, "error": "invented"}
	}
	list, ok := counts[name].([]any)
	if !ok {
		return
	}
	switch how {
	case spoilOmit:
		if n := len(list); n > 0 {
			list = append(list[:n/2:n/2], list[n/2+1:]...)
		}
	case spoilRepeat:
		if len(list) > 0 {
			list = append(list, list[0])
		}
	case spoilInvent:
		if len(list) > 0 {
			if first, ok := list[0].(map[string]any); ok && first[idName] == nil {
				invented[idName] = nil
			}
		}
		list = append(list, invented)
	case spoilCounts:
		if n, ok := counts["created"].(float64); ok {
			counts["created"] = n + 1
		}
	}
	counts[name] = list
}
