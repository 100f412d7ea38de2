#!/usr/bin/env python3
"""Writes from messages.json, the one definition of the protocol, what others need of it.

usage: generate.py header MESSAGES.JSON OUTPUT.h                       the C tables
       generate.py lua MESSAGES.JSON PROGRESS.LUA ESTIMATE.LUA OUTPUT.lua OUTPUT.h
                                                                       the function library
       generate.py typescript MESSAGES.JSON OUTPUT.ts                  the browser's types
       generate.py docs MESSAGES.JSON PROTOCOL.MD                      the document's tables
       generate.py docs --check MESSAGES.JSON PROTOCOL.MD              fails when they are stale

The function library comes out twice: as it can be loaded by hand, with the default settings, and
as C, where the settings are filled in when it is loaded.
"""
import json
import re
import sys


DOUBLE_MAX = 1.7976931348623157e308  # what JSON.parse reads beyond it is no number
ROUNDING = 1e-12  # of a range


def constant(prefix, name):
    return f"{prefix}_{name.upper()}"


def c_enum(name, prefix, keys, last=None):
    lines = [f"enum {name} {{"]
    lines += [f"    {constant(prefix, key)}," for key in keys]
    if last:
        lines.append(f"    {last}")
    return lines + ["};", ""]


def c_switch(returns, function, parameter, cases, otherwise):
    separator = "" if returns.endswith("*") else " "
    lines = [f"static inline {returns}{separator}{function}({parameter} value)", "{", "    switch (value) {"]
    for case, result in cases:
        lines += [f"    case {case}:", f"        return {result};"]
    return lines + ["    default:", f"        return {otherwise};", "    }", "}", ""]


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def boolean(entry, key):
    return "true" if entry.get(key) else "false"


def number_range(member, least):
    """What a number may be. A range with two ends takes what a sum of parts may exceed it by, so that
    100.00000000000007 is 100."""
    low, high = member.get("min", least), member.get("max", DOUBLE_MAX)
    slack = (high - low) * ROUNDING if {"min", "max"} <= member.keys() else 0
    return low - slack, high + slack


def payload_rule(member):
    kind = member["kind"]
    (low, high), value = number_range(member, 0), "NULL"
    if kind == "string":
        low, high = member.get("minLength", 0), member.get("maxLength", 0)
    elif kind == "enum":
        (value,) = map(quoted, member["values"])
    return ", ".join([f"PAYLOAD_{kind.upper()}", boolean(member, "required"),
                      boolean(member, "nullable"), str(low), str(high), value])


def header(protocol):
    limits, task, errors = protocol["limits"], protocol["task"], protocol["errorCodes"]
    out = [
        "/* Generated from messages.json by generate.py: do not edit. */",
        "#ifndef PROGRESSD_PROTO_MESSAGE_TABLES_H",
        "#define PROGRESSD_PROTO_MESSAGE_TABLES_H",
        "",
        "#include <stdbool.h>",
        "",
        f"#define TASK_ID_MAX {limits['taskIdMax']}",
        f"#define TASK_IDS_MAX {limits['taskIdsMax']}",
        f"#define STAGES_MAX {limits['stagesMax']}",
        f"#define STAGE_MAX {limits['stageMax']}",
        f"#define TIMESTAMP_MAX {limits['timestampMax']}",
        f"#define PREFIX_MAX {limits['prefixMax']}",
        f"#define PAYLOAD_MAX_DEFAULT {limits['payloadMaxDefault']}",
        "",
    ]
    out += ["/* What a client may say. */"]
    out += c_enum("client_type", "CLIENT", protocol["client"], "CLIENT_TYPES")
    *others, last = protocol["client"]
    out += [f"#define CLIENT_TYPE_NAMES {quoted(', '.join(others) + ' or ' + last)}", ""]
    out += c_switch("const char *", "client_type_name", "enum client_type",
                    [(constant("CLIENT", k), quoted(k)) for k in protocol["client"]], "NULL")

    out += ["/* The messages of a task. */"]
    out += c_enum("task_message_type", "TASK", task, "TASK_MESSAGE_TYPES")
    out += c_switch("const char *", "task_message_type_name", "enum task_message_type",
                    [(constant("TASK", k), quoted(k)) for k in task], "NULL")
    out += ["/* Whether a newer message of the type makes an older one needless. */"]
    out += c_switch("bool", "task_message_type_supersedes", "enum task_message_type",
                    [(constant("TASK", k), boolean(v, "supersedes")) for k, v in task.items()],
                    "false")

    entered = {k: v.get("enters", {}) for k, v in task.items()}
    out += ["/* The payload's member that names the stage a message enters, or NULL. */"]
    out += c_switch("const char *", "task_message_type_stage", "enum task_message_type",
                    [(constant("TASK", k), quoted(v["stage"])) for k, v in entered.items() if v],
                    "NULL")
    out += ["/* Whether it enters that stage also when it is the last one entered. */"]
    out += c_switch("bool", "task_message_type_enters_again", "enum task_message_type",
                    [(constant("TASK", k), boolean(v, "again")) for k, v in entered.items()],
                    "false")

    out += ["/* Whether it takes back an error that the task could go on from. */"]
    out += c_switch("bool", "task_message_type_clears_error", "enum task_message_type",
                    [(constant("TASK", k), boolean(v, "clearsError")) for k, v in task.items()],
                    "false")

    out += ["/* The members of payloads: X(type, name, kind, required, nullable, min, max, value), with the",
            " * length of a string, the range of a number, or the value of a constant. */",
            "#define PAYLOAD_RULES(X)" + "".join(
                f" \\\n    X({constant('TASK', of_type)}, {quoted(name)}, {payload_rule(member)})"
                for of_type, entry in task.items() for name, member in entry["payload"].items()),
            ""]

    out += ["/* Why a client's request is refused. */"]
    out += c_enum("error_code", "ERROR", errors, "ERROR_CODES")
    out += c_switch("const char *", "error_code_name", "enum error_code",
                    [(constant("ERROR", k), quoted(k)) for k in errors], "NULL")
    out += c_switch("bool", "error_code_is_retryable", "enum error_code",
                    [(constant("ERROR", k), boolean(v, "retryable")) for k, v in errors.items()],
                    "false")

    reasons = protocol["unsubscribedReasons"]
    out += ["/* Why a subscription ended. */"]
    out += [f"#define UNSUBSCRIBED_{k} {quoted(k)}" for k in reasons] + [""]

    codes = protocol["closeCodes"]
    out += ["/* Why a connection is closed (RFC 6455, 7.4; 4000 and up are this protocol's). */"]
    out += ["enum close_code {"]
    out += [f"    CLOSE_{v['name']} = {k}," for k, v in codes.items()] + ["};", ""]
    out += c_switch("const char *", "close_code_reason", "enum close_code",
                    [(f"CLOSE_{v['name']}", quoted(v["meaning"])) for v in codes.values()],
                    quoted(""))
    out += ["#endif", ""]
    return "\n".join(out)


# ── progress.lua ─────────────────────────────────────────────────────────────────────────────────

LIBRARY_HEAD = re.compile(
    r"#!lua name=progress\n"
    r"-- progressd library version=(\d+) state_ttl=86400 max_payload=(\d+)\n"
    r"local STATE_TTL, MAX_PAYLOAD = 86400, \2 [^\n]*\n")


def must(member):
    """What a value must be, in the words of a refusal and of the documents."""
    kind, low, high = member["kind"], member.get("min"), member.get("max")
    if kind == "number":
        words = f"a number from {low} to {high}" if high is not None else f"a number from {low} up"
    elif kind == "string":
        low, high = member.get("minLength", 0), member.get("maxLength")
        words = ("a string" + (f" of {low} to {high} bytes" if low and high else
                               f" of at most {high} bytes" if high else
                               " that isn't empty" if low else ""))
    else:
        words = {
            "boolean": "true or false",
            "timestamp": "an ISO 8601 date and time such as 2026-11-23T06:16:17.123Z",
            "enum": " or ".join(quoted(value) for value in member.get("values", [])),
        }[kind]
    return words + (" or null" if member.get("nullable") else "")


def lua_value(value):
    if isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def lua_table(entries):
    return "{ " + ", ".join(f"{k} = {lua_value(v)}" for k, v in entries.items()) + " }"


def lua_member(name, member):
    kind = member["kind"]
    entries = {"name": name, "kind": kind, "must": must(member)}
    if kind == "number":
        entries |= dict(zip(("min", "max"), number_range(member, -DOUBLE_MAX)))
    elif kind == "string":
        entries |= {"min": member.get("minLength", 0), "max": member.get("maxLength", 2 ** 31)}
    elif kind == "enum":
        (entries["value"],) = member["values"]
    entries |= {flag: True for flag in ("required", "nullable") if member.get(flag)}
    return lua_table(entries)


def lua_types(task):
    lines = ["local TYPES = {"]
    for name, entry in task.items():
        enters = entry.get("enters", {})
        flags = {
            "ends_task": entry.get("terminal"),
            "goes_on_if": entry.get("goesOnIf"),
            "clears_error": entry.get("clearsError"),
            "timestamp": any(m.get("added") for m in entry["payload"].values()),
            "stage": enters.get("stage"),
            "enters_again": enters.get("again"),
        }
        flags = ", ".join(f"{k} = {lua_value(v)}" for k, v in flags.items() if v)
        lines += [f"    {name} = {{{' ' + flags + ',' if flags else ''} members = {{"]
        lines += [f"        {lua_member(*member)}," for member in entry["payload"].items()]
        lines += ["    } },"]
    return "\n".join(lines + ["}"])


def replace_line(text, beginning, line):
    """Puts `line` where a line of `text` begins so, and ends with the comment `-- generated`."""
    pattern = "^" + re.escape(beginning) + r"[^\n]*-- generated$"
    text, count = re.subn(pattern, lambda _: line, text, flags=re.MULTILINE)
    if count != 1:
        sys.exit(f"generate.py: no line `{beginning}… -- generated` in the library")
    return text


def library(protocol, source, estimate):
    """The library's text as it can be loaded, its version, and its text below the head."""
    limits = protocol["limits"]
    task = {k: v for k, v in protocol["task"].items() if not v.get("control")}
    head = LIBRARY_HEAD.match(source)
    if not head or int(head[2]) != limits["payloadMaxDefault"]:
        sys.exit("generate.py: the library's first lines aren't as they should be")
    names = ", ".join(task)
    text = replace_line(source, "local TYPES =", lua_types(task))
    text = replace_line(text, "local TYPE_NAMES =", f"local TYPE_NAMES = {quoted(names)}")
    text = replace_line(text, "local TASK_ID_MAX,",
                        "local TASK_ID_MAX, PREFIX_MAX, STAGES_MAX, STAGE_MAX, TIMESTAMP_MAX, DEPTH_MAX = "
                        + ", ".join(str(limits[f"{name}Max"]) for name in
                                    ("taskId", "prefix", "stages", "stage", "timestamp", "payloadDepth")))
    before, included, after = text.partition("-- include estimate.lua\n")
    if not included:
        sys.exit("generate.py: no line `-- include estimate.lua` in the library")
    text = f"{before}{estimate}\n{after}"
    return text, int(head[1]), text[head.end():]


def library_header(version, body):
    out = [
        "/* Generated from progress.lua and messages.json by generate.py: do not edit. */",
        "#ifndef PROGRESSD_PROTO_PROGRESS_LUA_H",
        "#define PROGRESSD_PROTO_PROGRESS_LUA_H",
        "",
        f"#define PROGRESS_LIBRARY_VERSION {version}",
        "",
        "/* The function library below its head. */",
        "static const char progress_library_body[] =",
    ]
    out += [f"    {c_string(line)}" for line in body.splitlines(keepends=True)]
    out[-1] += ";"
    return "\n".join(out + ["", "#endif", ""])


def c_string(text):
    """A C string literal. Octal escapes, since a hexadecimal one would take in what follows."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n"}
    return '"' + "".join(escapes.get(c) or (c if " " <= c <= "~" else
                                            "".join(f"\\{b:03o}" for b in c.encode()))
                         for c in text) + '"'


# ── TypeScript ───────────────────────────────────────────────────────────────────────────────────

TYPESCRIPT_HEAD = """\
// Generated from proto/messages.json by proto/generate.py: do not edit.

/** A stage that a task entered. */
export interface StageEntry {
  /** The stage's name. */
  readonly stage: string;
  /** When it was entered, ISO 8601. */
  readonly timestamp: string;
}

/**
 * What a member of a payload must be: its type, with `?` if it may be missing or `|null` if it may
 * be null; a number's least and largest value.
 */
export type MemberRule = readonly [
  type: `${"string" | "number" | "boolean" | "array"}${"" | "?" | "|null"}`,
  min?: number,
  max?: number,
];

/** The members of a payload that have rules; others are passed on untouched. */
export type PayloadRules = Readonly<Record<string, MemberRule>>;

/** How messages of one type change what is known of a task. */
export interface TaskMessageRules {
  readonly payload: PayloadRules;
  /** The payload's member that names the stage which the message enters. */
  readonly stage?: string;
  /** It enters the stage also when that is the last one entered. */
  readonly entersAgain?: true;
  /** It takes back an error that the task could go on from. */
  readonly clearsError?: true;
}
"""

TYPESCRIPT_KINDS = {"stages": "array", "boolean": "boolean", "number": "number"}


def pascal(name):
    return "".join(part.capitalize() for part in name.split("_"))


def typescript_alternatives(members):
    """The members, each with the array that may stand in its place behind it."""
    out = {}
    for name, member in members.items():
        if "or" not in member:
            out[name] = member
            continue
        out[name] = {"kind": member["kind"]}
        out[member["or"]] = {"kind": f"{member['kind']}s"}
    return out


def typescript_type(member):
    kind = member["kind"]
    if kind == "enum":
        words = " | ".join(quoted(value) for value in member["values"])
    else:
        words = {"number": "number", "boolean": "boolean", "stages": "readonly StageEntry[]",
                 "taskIds": "readonly string[]", "revs": "readonly (string | null)[]"}.get(
                     kind, "string")
    return words + (" | null" if member.get("nullable") else "")


def typescript_comment(member):
    """What the type doesn't say, as a comment; an empty list if that is nothing."""
    kind = member["kind"]
    bounded = any(bound in member for bound in ("min", "max", "minLength", "maxLength"))
    several = {"taskId": "a task id", "rev": "a rev",
               "taskIds": "several task ids, in the place of `taskId`",
               "revs": "a rev or null for each of `taskIds`"}
    if kind in several:
        words = several[kind]
    elif kind == "stages":
        words = "oldest first"
    elif bounded or kind == "timestamp":
        words = must(member)
    else:
        return []
    unit = f", in {member['unit']}" if "unit" in member else ""
    return [f"  /** {words[0].upper()}{words[1:]}{unit}. */"]


def typescript_interface(name, comment, members, first=()):
    if not members and not first:
        return [f"/** {comment} */", f"export type {name} = Readonly<Record<string, unknown>>;", ""]
    lines = [f"/** {comment} */", f"export interface {name} {{", *first]
    for key, member in members.items():
        there = member.get("required") or member.get("added")
        lines += [*typescript_comment(member),
                  f"  readonly {key}{'' if there else '?'}: {typescript_type(member)};"]
    return lines + ["}", ""]


def typescript_union(name, comment, alternatives):
    lines = [f"/** {comment} */", f"export type {name} =", *(f"  | {a}" for a in alternatives)]
    lines[-1] += ";"
    return lines + [""]


def typescript_map(name, comment, entries):
    return [f"/** {comment} */", f"export interface {name} {{",
            *(f"  readonly {key}: {value};" for key, value in entries.items()), "}", ""]


def typescript_rule(member):
    kind = TYPESCRIPT_KINDS.get(member["kind"], "string")
    there = member.get("required") or member.get("added")
    kind += "|null" if member.get("nullable") else "" if there else "?"
    bounds = dict(zip(("min", "max"), number_range(member, -DOUBLE_MAX)))
    return [kind, *(bounds[bound] for bound in ("min", "max") if bound in member)]


def typescript_rules(members):
    return {name: typescript_rule(member) for name, member in members.items()}


def typescript_task_rules(entry):
    enters = entry.get("enters", {})
    rules = {"payload": typescript_rules(entry["payload"])}
    if enters:
        rules["stage"] = enters["stage"]
    flags = {"entersAgain": enters.get("again"), "clearsError": entry.get("clearsError")}
    return rules | {flag: True for flag, set_ in flags.items() if set_}


def typescript_table(value, depth=0):
    """A value as TypeScript, in lines down to the tables that hold no others."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = depth < 3 and any(isinstance(v, dict) for v in value.values())
    entries = [f"{k}: {typescript_table(v, depth + 1)}" for k, v in value.items()]
    if not inner:
        return "{ " + ", ".join(entries) + " }"
    indent = "  " * (depth + 1)
    return "{\n" + "".join(f"{indent}{entry},\n" for entry in entries) + "  " * depth + "}"


def typescript(protocol):
    task, server, client = protocol["task"], protocol["server"], protocol["client"]
    payloads = {name: f"{pascal(name)}Payload" for name in task}
    answers = {name: f"{'Request' if name == 'error' else ''}{pascal(name)}Payload"
               for name in server}
    out = [TYPESCRIPT_HEAD]
    out += ["/** A task id is at most this long. */",
            f"export const TASK_ID_MAX = {protocol['limits']['taskIdMax']};", "",
            "/** A message names at most this many tasks. */",
            f"export const TASK_IDS_MAX = {protocol['limits']['taskIdsMax']};", "",
            "/** A task keeps this many stages. */",
            f"export const STAGES_MAX = {protocol['limits']['stagesMax']};", ""]
    for name, entry in task.items():
        out += typescript_interface(payloads[name], f"The payload of `{name}`.", entry["payload"])
    out += typescript_map("TaskPayloads", "The messages of a task and their payloads.", payloads)
    for name, entry in server.items():
        out += typescript_interface(answers[name], f"The payload of the server's own `{name}`.",
                                    entry["payload"])
    out += typescript_map("ServerPayloads", "The server's own messages and their payloads.",
                          answers)
    for name, entry in client.items():
        out += typescript_interface(f"{pascal(name)}Request", f"What a client says: `{name}`.",
                                    typescript_alternatives(entry["members"]),
                                    [f"  readonly type: {quoted(name)};"])
    out += typescript_union("ClientMessage", "What a client may say.",
                            [f"{pascal(name)}Request" for name in client])
    out += ["/** What the messages of a task mean to a client. */",
            "export const TASK_RULES: Readonly<Record<keyof TaskPayloads, TaskMessageRules>> = "
            + typescript_table({k: typescript_task_rules(v) for k, v in task.items()}) + ";",
            "",
            "/** What the server's own messages must hold. */",
            "export const SERVER_RULES: Readonly<Record<keyof ServerPayloads, PayloadRules>> = "
            + typescript_table({k: typescript_rules(v["payload"]) for k, v in server.items()})
            + ";", ""]
    out += typescript_union("RequestErrorCode", "Why the server refuses a request.",
                            map(quoted, protocol["errorCodes"]))
    out += typescript_union("HttpErrorCode", "Why it refuses one over HTTP, besides.",
                            map(quoted, protocol["httpErrorCodes"]))
    out += typescript_union("UnsubscribedReason", "Why a subscription ended.",
                            map(quoted, protocol["unsubscribedReasons"]))
    for number, entry in protocol["closeCodes"].items():
        out += [f"/** Close code: {entry['meaning']}. */",
                f"export const CLOSE_{entry['name']} = {number};", ""]
    return "\n".join(out)


# ── docs/PROTOCOL.md ─────────────────────────────────────────────────────────────────────────────

TABLE = re.compile(r"(?<=<!-- table:)(\S+) -->\n.*?(?=<!-- /table -->)", re.DOTALL)


def markdown_table(head, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def code(text):
    return f"`{text}`"


def client_member(name, member):
    """A member, and what several tasks have in its place."""
    kind = {"taskId": "task id", "rev": "rev"}.get(member["kind"], member["kind"])
    words = f"`{name}` ({kind})" + (f" or `{member['or']}`" if "or" in member else "")
    return words if member.get("required") else f"[{words}]"


def client_table(protocol):
    rows = [[code(name), ", ".join(client_member(*m) for m in entry["members"].items()),
             entry["answer"]] for name, entry in protocol["client"].items()]
    return markdown_table(["type", "members", "answer"], rows)


def payload_table(protocol):
    rows = []
    for name, entry in protocol["task"].items():
        members = entry["payload"] or {"": None}
        for position, (member_name, member) in enumerate(members.items()):
            first = code(name) if position == 0 else ""
            if member is None:
                rows.append([first, "none", ""])
                continue
            needed = "" if member.get("required") else (
                "; added if it is missing" if member.get("added") else "; optional")
            unit = f", in {member['unit']}" if "unit" in member else ""
            rows.append([first, code(member_name), must(member) + unit + needed])
    return markdown_table(["type", "member of the payload", "is"], rows)


def meaning(entry):
    """What it means; `coming` says that nothing sends it yet."""
    return entry["meaning"] + (" (coming: not sent yet)" if entry.get("coming") else "")


def meanings_table(entries, head):
    return markdown_table([head, "meaning"], [[code(k), v] for k, v in entries.items()])


def documents(protocol):
    """The tables of the document by their names."""
    errors, http, close = (protocol[k] for k in ("errorCodes", "httpErrorCodes", "closeCodes"))
    return {
        "client": client_table(protocol),
        "payloads": payload_table(protocol),
        "errors": markdown_table(["code", "again later?", "meaning"],
                                 [[code(k), "yes" if v["retryable"] else "no", meaning(v)]
                                  for k, v in errors.items()]),
        "http": markdown_table(["code", "status", "meaning"],
                               [[code(k), str(v["status"]), meaning(v)]
                                for k, v in http.items()]),
        "unsubscribed": meanings_table(protocol["unsubscribedReasons"], "reason"),
        "close": markdown_table(["code", "name", "meaning"],
                                [[k, code(v["name"]), meaning(v)] for k, v in close.items()]),
    }


def with_tables(document, tables):
    """The document with what is between the markers of each table written anew."""
    names = [match[1] for match in TABLE.finditer(document)]
    if sorted(names) != sorted(tables):
        sys.exit(f"generate.py: the document has the tables {names}, not {list(tables)}")
    return TABLE.sub(lambda match: f"{match[1]} -->\n{tables[match[1]]}", document)


# ─────────────────────────────────────────────────────────────────────────────────────────────────

def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main():
    match sys.argv[1:]:
        case ["header", messages, output]:
            write(output, header(json.loads(read(messages))))
        case ["lua", messages, source, estimate, output_lua, output_h]:
            text, version, body = library(json.loads(read(messages)), read(source), read(estimate))
            write(output_lua, text)
            write(output_h, library_header(version, body))
        case ["typescript", messages, output]:
            write(output, typescript(json.loads(read(messages))))
        case ["docs", *check, messages, document] if check in ([], ["--check"]):
            text = read(document)
            fresh = with_tables(text, documents(json.loads(read(messages))))
            if check and fresh != text:
                sys.exit(f"{document} is stale: proto/generate.py docs {messages} {document}")
            if not check:
                write(document, fresh)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
