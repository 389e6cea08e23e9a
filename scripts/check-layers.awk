# Reads lib.rs (its table of rooms) and every source file; prints what breaks the table. See check-layers.
#
# Each file is read whole, its comments, strings and character literals are blanked (newlines stay, so that line numbers
# hold), and what remains is searched for paths that begin at the root of the crate.

BEGIN { room_count = 0; bad = 0 }

FNR == 1 { if (NR > 1) finish(); current = FILENAME; text = "" }
{ text = text $0 "\n" }
END { finish(); compare_modules(); exit bad }

function complain(file, line, words) {
    printf "%s:%d: %s\n", file, line, words
    bad = 1
}

# lib.rs comes first in the arguments, and once more in its turn: only the first reading fills the table.
function finish() {
    if (table_read == "") { read_table(text); lib_text = blank(text); lib = current; table_read = 1; return }
    search(current, blank(text))
}

function read_table(src,    lines, n, i, cells, room, words, j) {
    n = split(src, lines, "\n")
    for (i = 1; i <= n; i++) {
        if (lines[i] !~ /^\/\/! \| \[`[a-z_]+`\]/) continue
        split(lines[i], cells, "|")
        room = cells[2]; gsub(/[^a-z_]/, "", room)
        row_line[room] = i
        if (cells[4] ~ /all/) {
            all[room] = (cells[4] ~ /above/) ? "above" : "every"
            if (all[room] == "above") for (j = 1; j <= room_count; j++) may[room, order[j]] = 1
        } else {
            words = cells[4]
            while (match(words, /`[a-z_]+`/)) {
                may[room, substr(words, RSTART + 1, RLENGTH - 2)] = 1
                words = substr(words, RSTART + RLENGTH)
            }
        }
        order[++room_count] = room
        known[room] = 1
    }
}

function compare_modules(    rest, module, seen, room) {
    rest = lib_text
    while (match(rest, /mod[ \n]+[a-z_]+[ \n]*;/)) {
        module = substr(rest, RSTART + 3, RLENGTH - 4); gsub(/[ \n]/, "", module)
        rest = substr(rest, RSTART + RLENGTH)
        seen[module] = 1
        if (!(module in known)) complain(lib, 1, "module " module " has no row in the table of rooms")
    }
    for (room in known) if (!(room in seen)) complain(lib, row_line[room], "the table has a room " room ", but no such module")
}

# Comments, strings and characters become blanks.
function blank(src,    out, n, i, c, two, depth, hashes, quote, j, word) {
    n = length(src); i = 1; out = ""
    while (i <= n) {
        # Jump over what cannot begin any of them: awk is slow letter by letter.
        if (match(substr(src, i, 400), /^[^\/"'r]+/)) { out = out substr(src, i, RLENGTH); i += RLENGTH; continue }
        c = substr(src, i, 1); two = substr(src, i, 2)
        if (two == "//") { while (i <= n && substr(src, i, 1) != "\n") i++; continue }
        if (two == "/*") {
            depth = 0
            do {
                two = substr(src, i, 2)
                if (two == "/*") { depth++; i += 2 }
                else if (two == "*/") { depth--; i += 2 }
                else { if (substr(src, i, 1) == "\n") out = out "\n"; i++ }
            } while (depth > 0 && i <= n)
            out = out " "; continue
        }
        if (c == "r" && out !~ /[A-Za-ac-z0-9_]$/ && match(substr(src, i, 20), /^r#*"/)) {
            hashes = substr(src, i + 1, RLENGTH - 2); quote = "\"" hashes
            i += RLENGTH
            while (i <= n && substr(src, i, length(quote)) != quote) { if (substr(src, i, 1) == "\n") out = out "\n"; i++ }
            i += length(quote); out = out " "; continue
        }
        if (c == "\"") {
            i++
            while (i <= n && (c = substr(src, i, 1)) != "\"") {
                if (c == "\n") out = out "\n"
                i += (c == "\\") ? 2 : 1
                if (c == "\\" && substr(src, i - 1, 1) == "\n") out = out "\n"
            }
            i++; out = out " "; continue
        }
        if (c == "'") {
            # 'x' or '\…' is a character; anything else a lifetime.
            if (match(substr(src, i, 14), /^'\\([^u]|u\{[0-9a-fA-F_]+\}|x[0-9a-fA-F][0-9a-fA-F])'/)) { i += RLENGTH; out = out " "; continue }
            if (match(substr(src, i, 6), /^'[^\\']+'/) && substr(src, i, RLENGTH) !~ /[A-Za-z0-9_][ ,>:)]/) { i += RLENGTH; out = out " "; continue }
        }
        out = out c; i++
    }
    return out
}

function line_of(src, at,    head) { head = substr(src, 1, at); return gsub(/\n/, "", head) + 1 }

function search(file, src,    path, parts, depth, room, rest, base, at, chain, n, line) {
    path = substr(file, length(root) + 2); sub(/\.rs$/, "", path); sub(/\/mod$/, "", path)
    depth = split(path, parts, "/")
    room = parts[1]
    line = 0
    if (match(src, /(allow|expect)\([^)]*unsafe_code/) && room != "sys") complain(file, line_of(src, RSTART), "allows unsafe_code: only src/sys may")
    if (room == "main" || room == "lib") return  # they join the rooms
    if (!(room in known)) { complain(file, 1, "belongs to no room of the table in lib.rs"); return }

    rest = src; base = 0
    while (match(rest, /(crate|pontoon)[ \n]*(::|[ \n]as[ \n])/)) {
        at = base + RSTART
        n = RLENGTH
        if (RSTART > 1 && substr(rest, RSTART - 1, 1) ~ /[A-Za-z0-9_]/) { base += RSTART + n - 1; rest = substr(rest, RSTART + n); continue }
        chain = substr(rest, RSTART, n)
        base += RSTART + n - 1; rest = substr(rest, RSTART + n)
        if (chain ~ /as[ \n]$/) complain(file, line_of(src, at), room " says `crate as`: name the room instead")
        else roots(file, src, at, room, rest)
    }
    rest = src; base = 0
    while (match(rest, /(super[ \n]*::[ \n]*)+/)) {
        at = base + RSTART
        chain = substr(rest, RSTART, RLENGTH)
        base += RSTART + RLENGTH - 1; rest = substr(rest, RSTART + RLENGTH)
        # Long enough to reach the root; a test module inside the file needs one step more, and is caught all the same.
        if (gsub(/super/, "", chain) >= depth) roots(file, src, at, room, rest, 1)
    }
}

# What follows the root of the crate: a name, `*`, or a tree in braces whose first names count.
function roots(file, src, at, room, rest, by_super,    level, i, c, name, n, first) {
    sub(/^[ \n]+/, "", rest)
    if (rest ~ /^\*/) { if (!by_super) complain(file, line_of(src, at), room " imports `crate::*`: name the rooms"); return }
    if (rest !~ /^\{/) { match(rest, /^[A-Za-z0-9_]+/); judge(file, src, at, room, substr(rest, 1, RLENGTH)); return }
    level = 0; name = ""; first = 1; n = length(rest)
    for (i = 1; i <= n; i++) {
        c = substr(rest, i, 1)
        if (c == "{") { level++; if (level == 1) { name = ""; first = 1 } ; continue }
        if (c == "}") { if (level == 1) { judge(file, src, at, room, name); return } level--; continue }
        if (level != 1) continue
        if (c == ",") { judge(file, src, at, room, name); name = ""; first = 1 }
        else if (c ~ /[A-Za-z0-9_*]/) { if (first) name = name c }
        else if (name != "") first = 0
    }
}

function judge(file, src, at, room, name) {
    if (name == "" || name == "self" || name == room || !(name in known)) return
    if (all[room] == "every" || (room, name) in may) return
    complain(file, line_of(src, at), room " may not import " name " (table in src/lib.rs)")
}
