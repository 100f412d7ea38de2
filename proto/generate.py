#!/usr/bin/env python3
"""Writes from messages.json, the one definition of the protocol, what others need of it.

usage: generate.py header MESSAGES.JSON OUTPUT.h      the C tables
"""
import json
import sys


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
        f"#define STAGES_MAX {limits['stagesMax']}",
        f"#define STAGE_MAX {limits['stageMax']}",
        f"#define PAYLOAD_MAX_DEFAULT {limits['payloadMaxDefault']}",
        "",
    ]
    out += ["/* What a client may say. */"]
    out += c_enum("client_type", "CLIENT", protocol["client"], "CLIENT_TYPES")
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


def main():
    if len(sys.argv) != 4 or sys.argv[1] != "header":
        sys.exit(__doc__)
    with open(sys.argv[2], encoding="utf-8") as file:
        protocol = json.load(file)
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        file.write(header(protocol))


if __name__ == "__main__":
    main()
