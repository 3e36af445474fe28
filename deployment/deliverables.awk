# Prints a YAML file of nested mappings with one value changed, comments and order kept:
#   path=services.v1.back_end.build_id value=... awk -f deliverables.awk deliverables.yaml
# A key that is missing is added at the end of the mapping it belongs to.

function indent(level,    spaces) {
  while (level-- > 0) spaces = spaces "  "
  return spaces
}

# Adds the keys that have not been met, just before the line that ends their mapping.
function add_missing(    level) {
  for (level = met + 1; level < depth; level++) print indent(level - 1) keys[level] ":"
  print indent(depth - 1) keys[depth] ": \"" value "\""
  met = depth
}

BEGIN {
  depth = split(ENVIRON["path"], keys, ".")
  value = ENVIRON["value"]
  gsub(/["\\]/, "\\\\&", value)
}

met < depth && /^ *[A-Za-z0-9_]+:/ {
  match($0, /^ */)
  level = RLENGTH / 2 + 1
  key = $1
  sub(/:.*/, "", key)
  if (level <= met) add_missing()
  else if (level == met + 1 && key == keys[level]) {
    met = level
    if (met == depth) {
      comment = match($0, / #.*$/) ? " " substr($0, RSTART) : ""
      $0 = indent(level - 1) key ": \"" value "\"" comment
    }
  }
}

{ print }

END { if (met < depth) add_missing() }
