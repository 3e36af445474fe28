# Prints the values of a YAML file of nested mappings, as deliverables.awk keeps it:
#   awk -f deliverables_list.awk deliverables.yaml
# One line each: a word, where it stands, and what stands there, between tabs. The word is `value`,
# or `line` for one that is no `key:` or `key: "value"` in its place, or has a key for a second time.

function wrong() { printf "line\t%d\t%s\n", NR, $0 }

# Returns where a key of this line stands: the keys above it and its own, with dots between them.
function place(level, key,    n, path) {
  for (n = 1; n < level; n++) path = path keys[n] "."
  return path key
}

# Returns a value without its comment, and without quotes where they are a pair.
function bare(text) {
  sub(/ +#.*$/, "", text)
  if (text ~ /^"[^"]*"$/ || text ~ /^'[^']*'$/) return substr(text, 2, length(text) - 2)
  return text
}

/^ *(#.*)?$/ { next }

!/^ *[A-Za-z0-9_]+:( .*)?$/ { wrong(); next }

{
  match($0, /^ */)
  level = RLENGTH / 2 + 1
  key = $1
  sub(/:.*/, "", key)
  rest = $0
  sub(/^ *[A-Za-z0-9_]+: */, "", rest)
  path = place(level, key)
  if (level > depth + 1 || level != int(level) || path in seen) { wrong(); next }
  seen[path] = 1
  keys[level] = key
  depth = level
  if (rest == "" || rest ~ /^#/) next
  depth = level - 1
  printf "value\t%s\t%s\n", path, bare(rest)
}
