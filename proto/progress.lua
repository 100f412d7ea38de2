#!lua name=progress
-- progressd library version=7 state_ttl=86400 max_payload=4096
local STATE_TTL, MAX_PAYLOAD = 86400, 4096 -- seconds, bytes: the settings of the line above

-- Each message of a task is made in here, whoever publishes it: checked, given its revision,
-- stored in the task's hash and published on the channel of the same name, in one atomic step.
--
--   FCALL progress_publish 1 <prefix><taskId> <type> <payload>        the message's rev
--   FCALL progress_reset 1 <prefix><taskId>                           the rev of the new run
--   FCALL progress_alive 1 <prefix><taskId> <seconds>                 OK: the job lives so long
--   FCALL progress_lost 1 <prefix><taskId>                            the error's rev; nil: not lost
--   FCALL progress_take_over 1 <prefix><taskId> (<type> <milliseconds> <payload>)…
--                                                                     "<recorded> <refused>"
--   FCALL progress_rights 1 <key>                                     OK, or the right missing
--   FCALL progress_lease 1 <prefix>!recorder <holder> <milliseconds>  1: held by the caller; or 0
--
-- The hash: run, n, stages, and the latest message of each type under the type's name. Fields that
-- begin with _ are bookkeeping: _stage is the stage entered last, _end says that the task has ended
-- ("done") or failed but may go on ("retry"), _estimate is what an estimate is made of, and _alive
-- is when the job must have given its next sign of life, in microseconds of Redis' time. Whoever
-- reads the hash and finds that passed calls progress_lost; of the others only we know.
--
-- A refusal stores nothing: PROGRESS_INVALID names what is wrong (and never repeats a value, which
-- could be anything), PROGRESS_DONE says that the task has ended.
--
-- Redis has one thread, and each call takes its time from everybody: what the usual payload
-- passes through is a few calls into C, and the rest is for payloads that need a second look.

-- What messages.json says of each type: its members in order, with `must`, the words for a refusal;
-- `timestamp`: it gets one if it has none; `stage`: the member that names the stage it enters, if
-- that isn't the last one or `enters_again`; `ends_task`, unless its member `goes_on_if` is true;
-- `clears_error`: of a task that went on.
local TYPES = {} -- generated
local TYPE_NAMES = {} -- generated
local TASK_ID_MAX, PREFIX_MAX, STAGES_MAX, STAGE_MAX, TIMESTAMP_MAX, DEPTH_MAX = 0, 0, 0, 0, 0, 0 -- generated

-- The types of which more is known here than the tables say.
local UPDATE, ESTIMATE, ERROR = "progress_update", "time_estimate", "error"

-- The largest n: above it a double skips numbers. And how far one that is found may lie ahead of
-- Redis' time: as far as a clock may have been set back.
local N_MAX = 2 ^ 53 - 1
local AHEAD_MAX = 86400 * 1000000 -- microseconds
local STAGES_BYTES_MAX = 65536 -- more than STAGES_MAX of the longest take, escapes included
local LEASE_MAX = 3600000 -- milliseconds
local RUN_SLACK = 500000 -- microseconds from a message's publication to the run that it began
local ALIVE_MAX = 86400 -- seconds

-- While a library is loaded it sees neither `string` nor `cjson`: these are set by the first call.
-- `json` is an instance of our own, since settings of the shared one would change for every
-- library and script of the server.
local json, null, find, gsub, match, sub, format

local function prepare()
    if json then
        return
    end
    find, gsub, match, sub, format =
        string.find, string.gsub, string.match, string.sub, string.format
    local instance = cjson.new()
    instance.decode_invalid_numbers(false)
    instance.decode_max_depth(DEPTH_MAX)
    json, null = instance, instance.null
end

local function invalid(why)
    return redis.error_reply("PROGRESS_INVALID " .. why)
end

-- The task id in a key, or nil. The key becomes part of the message, and so it is checked like
-- everything else.
local function task_id_of(key)
    local prefix, id = match(key, "^([A-Za-z0-9_-]+:)([A-Za-z0-9._~:-]+)$")
    if id and #prefix <= PREFIX_MAX and #id <= TASK_ID_MAX and id ~= "." and id ~= ".." then
        return id
    end
end

local KEY_MUST = "the key must be a prefix that ends in its only colon, and a task id: 1 to "
    .. TASK_ID_MAX .. " of A-Z a-z 0-9 . _ ~ : -, and neither . nor .."

-- ── JSON ─────────────────────────────────────────────────────────────────────────────────────────
-- cjson checks the structure, literals, escapes (lone surrogates too) and depth. It also accepts
-- what JSON forbids: control characters in strings, bytes that aren't UTF-8, numbers such as
-- 1. and -.5, and anything after a NUL. Those are looked for in the text.

-- Well-formed UTF-8 (RFC 3629, 4) of more than one byte. A lead byte is never a continuation, so
-- the order doesn't matter.
local UTF8_SEQUENCES = {
    "[\194-\223][\128-\191]",
    "\224[\160-\191][\128-\191]",
    "[\225-\236\238\239][\128-\191][\128-\191]",
    "\237[\128-\159][\128-\191]",
    "\240[\144-\191][\128-\191][\128-\191]",
    "[\241-\243][\128-\191][\128-\191][\128-\191]",
    "\244[\128-\143][\128-\191][\128-\191]",
}

local function is_utf8(text)
    for i = 1, #UTF8_SEQUENCES do
        if not find(text, "[\128-\255]") then
            return true
        end
        -- Not by nothing: what is left must not grow together.
        text = gsub(text, UTF8_SEQUENCES[i], " ")
    end
    return not find(text, "[\128-\255]")
end

-- What is wrong with a text that cjson has accepted, or nil.
local function json_fault(text)
    -- Without its strings of plain ASCII (32 to 127 but for " and \) a text is short.
    local outside = gsub(text, '"[]-\127 #-[!]*"', "")
    if find(outside, '["%z]') then
        if find(text, "%z") then
            return "has a NUL byte"
        end
        if not is_utf8(text) then
            return "is not valid UTF-8"
        end
        -- A string with a control character in it isn't taken out, and its quotes stay.
        outside = gsub(gsub(text, "\\.", ""), '"[^"\1-\31]*"', "")
        if find(outside, '"', 1, true) then
            return "has a control character in a string"
        end
    end
    if find(outside, ".", 1, true) and (find(outside, "%.%D") or find(outside, "%D%.")) then
        return "has a number with no digit beside its point"
    end
end

-- The object that `text` is, decoded; or nil and what is wrong.
local function decode_object(text)
    local decoded, object = pcall(json.decode, text)
    if not decoded then
        return nil, "is not JSON: " .. object
    end
    local fault = json_fault(text)
    if fault then
        return nil, fault
    end
    return object
end

local ESCAPES = {
    ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}

-- A JSON string, escaped byte for byte like text_json_string() in common/text.h.
local function json_string(text)
    return '"' .. gsub(text, '[%z\1-\31"\\]', function(character)
        return ESCAPES[character] or format("\\u%04x", string.byte(character))
    end) .. '"'
end

-- ── Time ─────────────────────────────────────────────────────────────────────────────────────────

-- Year, month and day of a day counted from 1970-01-01. Years are taken to begin in March, so that
-- the leap day is their last; an era is 400 years.
local function date_of(day)
    local floor = math.floor
    day = day + 719468 -- since 0000-03-01
    local era = floor(day / 146097)
    local day_of_era = day - era * 146097
    local year_of_era = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524)
        - floor(day_of_era / 146096)) / 365)
    local day_of_year = day_of_era
        - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
    local month_from_march = floor((5 * day_of_year + 2) / 153)
    local month = month_from_march < 10 and month_from_march + 3 or month_from_march - 9
    return year_of_era + era * 400 + (month <= 2 and 1 or 0), month,
        day_of_year - floor((153 * month_from_march + 2) / 5) + 1
end

-- The last second that was written out, and its text: "2026-11-23T06:16:17".
local written_second, written_text

-- Redis' time: microseconds since 1970, and as "2026-11-23T06:16:17.123Z".
local function now()
    local time = redis.call("TIME")
    local second, microsecond = time[1], tonumber(time[2])
    if second ~= written_second then
        local since_1970 = tonumber(second)
        local of_day = since_1970 % 86400
        local year, month, day = date_of((since_1970 - of_day) / 86400)
        written_text = format("%04d-%02d-%02dT%02d:%02d:%02d", year, month, day,
            math.floor(of_day / 3600), math.floor(of_day / 60) % 60, of_day % 60)
        written_second = second
    end
    return tonumber(second) * 1000000 + microsecond,
        written_text .. format(".%03dZ", math.floor(microsecond / 1000))
end

local MONTH_DAYS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_date(year, month, day)
    year, month, day = tonumber(year), tonumber(month), tonumber(day)
    if month < 1 or month > 12 or day < 1 or day > MONTH_DAYS[month] then
        return false
    end
    return month ~= 2 or day < 29 or year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
end

-- ISO 8601's extended form, as browsers read it: date, T, hours and minutes; seconds, their
-- fraction and the zone may be missing.
local function is_timestamp(text)
    local year, month, day, hour, rest =
        match(text, "^(%d%d%d%d)%-(%d%d)%-(%d%d)T(%d%d):[0-5]%d(.*)$")
    if not year or #text > TIMESTAMP_MAX or not is_date(year, month, day) or hour > "23" then
        return false
    end
    rest = match(rest, "^:[0-5]%d%.%d+(.*)$") or match(rest, "^:[0-5]%d(.*)$") or rest
    if rest == "" or rest == "Z" then
        return true
    end
    local zone_hour = match(rest, "^[+-](%d%d):[0-5]%d$")
    return zone_hour ~= nil and zone_hour <= "23"
end

-- ── Payloads ─────────────────────────────────────────────────────────────────────────────────────

-- Whether a value is what messages.json says of the member.
local function fits(member, value)
    local kind = member.kind
    if kind == "number" then
        return type(value) == "number" and value >= member.min and value <= member.max
    elseif kind == "boolean" then
        return type(value) == "boolean"
    elseif value == null then
        return member.nullable or false
    elseif type(value) ~= "string" then
        return false
    elseif kind == "string" then
        return #value >= member.min and #value <= member.max
    elseif kind == "timestamp" then
        return is_timestamp(value)
    end
    return value == member.value
end

-- The payload decoded, and its text without white space around it; or nil and what is wrong.
local function check_payload(of_type, text)
    if #text > MAX_PAYLOAD then
        return nil, "payload must not be longer than " .. MAX_PAYLOAD .. " bytes"
    end
    text = match(text, "^[ \t\r\n]*({.*})[ \t\r\n]*$")
    if not text then
        return nil, "payload must be a JSON object"
    end
    local payload, fault = decode_object(text)
    if not payload then
        return nil, "payload " .. fault
    end
    local members = of_type.members
    for i = 1, #members do
        local member = members[i]
        local value = payload[member.name]
        if value == nil then
            if member.required then
                return nil, "payload." .. member.name .. " must be " .. member.must
                    .. ", and is missing"
            end
        elseif not fits(member, value) then
            return nil, "payload." .. member.name .. " must be " .. member.must
        end
    end
    return payload, text
end

-- ── Revisions ────────────────────────────────────────────────────────────────────────────────────

local DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

local function base36(number)
    local text = ""
    repeat
        local digit = number % 36
        text = sub(DIGITS, digit + 1, digit + 1) .. text
        number = (number - digit) / 36
    until number == 0
    return text
end

-- The hash's n, or nil: anybody with a right to HSET may have written it.
local function n_of(held, microseconds)
    local n = held and #held <= 16 and find(held, "^[1-9]%d*$") and tonumber(held)
    return n and n <= N_MAX and n <= microseconds + AHEAD_MAX and n or nil
end

-- The hash's run and n; or nil, n or nil: only both together are a state.
local function state_of(held_run, held_n, microseconds)
    local n = n_of(held_n, microseconds)
    local run = n and held_run and #held_run <= 13 and find(held_run, "^[0-9a-z]+$") and held_run
    return run or nil, n
end

-- When the job must have given its next sign of life, by the field _alive; or nil.
local function deadline_of(held)
    return held and #held <= 16 and find(held, "^%d+$") and tonumber(held)
end

local function next_n(previous, microseconds)
    return previous and previous >= microseconds and previous + 1 or microseconds
end

-- A run's name is its first n in base 36: the time it began, unless the clock was set back, and
-- never the name of an earlier run.
local function run_beginning_at(n)
    return base36(n)
end

local function message_text(name, id, rev, payload)
    return '{"type":"' .. name .. '","taskId":"' .. id .. '","rev":"' .. rev .. '","payload":'
        .. payload .. "}"
end

-- ── Stages ───────────────────────────────────────────────────────────────────────────────────────
-- stages_follow() in task_stages.c does the same for those who watch.

-- The stages that the field holds, each as {stage, timestamp}; none if it holds anything else.
local function stages_of(field)
    if not field or #field > STAGES_BYTES_MAX or not find(field, '^%[{"stage":".*"}%]$') then
        return {}
    end
    local decoded, entries = pcall(json.decode, field)
    if not decoded or json_fault(field) then
        return {}
    end
    local stages = {}
    for i = 1, #entries do
        local entry = entries[i]
        local stage = type(entry) == "table" and entry.stage
        local timestamp = type(entry) == "table" and entry.timestamp
        if type(stage) ~= "string" or stage == "" or #stage > STAGE_MAX
            or type(timestamp) ~= "string" or not is_timestamp(timestamp) then
            return {}
        end
        stages[i] = { stage, timestamp }
    end
    return stages
end

-- The field with one more at its end, and the oldest left out if they are too many.
local function stages_with(field, stage, timestamp)
    local stages = stages_of(field)
    stages[#stages + 1] = { stage, timestamp }
    local entries = {}
    for i = math.max(1, #stages - STAGES_MAX + 1), #stages do
        entries[#entries + 1] = '{"stage":' .. json_string(stages[i][1]) .. ',"timestamp":'
            .. json_string(stages[i][2]) .. "}"
    end
    return "[" .. table.concat(entries, ",") .. "]"
end

-- include estimate.lua
-- ── The functions ────────────────────────────────────────────────────────────────────────────────

-- The commands here run with the caller's rights, and what was done before a refused one isn't
-- taken back: so the rights are looked at first. An error reply that names the one missing, or nil.
local function right_missing(key)
    local may = redis.acl_check_cmd
    local command = not may("TIME") and "TIME"
        or not may("HMGET", key, "n") and "HMGET"
        or not may("HSET", key, "n", "") and "HSET"
        or not may("HDEL", key, "n") and "HDEL"
        or not may("PEXPIRE", key, "1") and "PEXPIRE"
        or not may("SPUBLISH", key, "") and "SPUBLISH"
    if command then
        return redis.error_reply("NOPERM this user has no right to " .. command
            .. " on the task's key or channel")
    end
end

-- For whoever wants to know at its start: whether its user may do what the functions do.
local function rights(keys, args)
    prepare()
    if #keys ~= 1 or #args ~= 0 then
        return invalid("call: FCALL progress_rights 1 <key>")
    end
    return right_missing(keys[1]) or redis.status_reply("OK")
end

-- Stores `fields`, renews the hash's life, and tells everybody: `message`, and what follows from it.
local function store(key, fields, message, follows)
    redis.call("HSET", key, unpack(fields))
    redis.call("PEXPIRE", key, STATE_TTL * 1000)
    redis.call("SPUBLISH", key, message)
    if follows then
        redis.call("SPUBLISH", key, follows)
    end
end

local function ended_already()
    return redis.error_reply("PROGRESS_DONE the task has ended; progress_reset begins a new run")
end

-- What a message of a job's does to the field _estimate: its new value or nil; and, when there is
-- one to tell, an estimate's payload.
local function estimate_after(held, name, entered, payload, microseconds)
    if name == ESTIMATE then
        return OWN_ESTIMATE
    elseif held == OWN_ESTIMATE then
        return
    elseif entered then
        return estimate_stage(held, microseconds, name == UPDATE and payload.percentage or nil)
    elseif name ~= UPDATE then
        return
    end
    -- A percentage may exceed its range by a rounding error.
    local percentage = math.max(0, math.min(100, payload.percentage))
    local text, seconds, confidence = estimate_update(held, microseconds, percentage)
    return text, seconds and format('{"estimatedTimeRemaining":%.2f,"confidence":%.2f}', seconds,
        confidence)
end

-- Removes all of a run but the job's sign of life.
local function forget(key)
    local gone = { "stages", "_stage", "_end", "_estimate" }
    for name in pairs(TYPES) do
        gone[#gone + 1] = name
    end
    redis.call("HDEL", key, unpack(gone))
end

-- Whether the task has ended, by the field _end and by a message that ended it.
local function has_ended(key, ended)
    if ended ~= "done" then
        return false
    end
    local messages = redis.call("HMGET", key, "complete", ERROR)
    return messages[1] or messages[2]
end

local function publish(keys, args)
    prepare()
    if #keys ~= 1 or #args ~= 2 then
        return invalid("call: FCALL progress_publish 1 <key> <type> <payload>")
    end
    local key, name, text = keys[1], args[1], args[2]
    local id = task_id_of(key)
    if not id then
        return invalid(KEY_MUST)
    end
    local of_type = TYPES[name]
    if not of_type then
        return invalid("type must be one of " .. TYPE_NAMES)
    end
    local payload, payload_text = check_payload(of_type, text)
    if not payload then
        return invalid(payload_text)
    end

    local missing = right_missing(key)
    if missing then
        return missing
    end
    local held = redis.call("HMGET", key, "run", "n", "_end", "_stage", "_estimate")
    local ended, last_stage, estimated = held[3], held[4], held[5]
    if ended and has_ended(key, ended) then
        return ended_already()
    end

    local microseconds, timestamp = now()
    local run, previous = state_of(held[1], held[2], microseconds)
    local n = next_n(previous, microseconds)
    local n_text = format("%.0f", n)
    local fields = { "n", n_text, name, "" }
    if not run then
        -- A task's first message; or what the hash holds is no state, and goes.
        if held[1] or held[2] then
            forget(key)
            ended, last_stage, estimated = nil, nil, nil
        end
        run = run_beginning_at(n)
        fields[5], fields[6] = "run", run
    end

    if of_type.timestamp then
        if payload.timestamp then
            timestamp = payload.timestamp
        else
            payload_text = sub(payload_text, 1, -2) .. ',"timestamp":"' .. timestamp .. '"}'
        end
    end

    local stage = of_type.stage and payload[of_type.stage]
    local entered = stage and (stage ~= last_stage or of_type.enters_again)
    if entered then
        local stages = redis.call("HMGET", key, "stages")[1]
        fields[#fields + 1] = "stages"
        fields[#fields + 1] = stages_with(stages, stage, timestamp)
        fields[#fields + 1] = "_stage"
        fields[#fields + 1] = stage
    end

    if of_type.ends_task then
        fields[#fields + 1] = "_end"
        fields[#fields + 1] = of_type.goes_on_if and payload[of_type.goes_on_if] and "retry"
            or "done"
        redis.call("HDEL", key, "_alive")
    end
    if ended == "retry" and of_type.clears_error then
        redis.call("HDEL", key, ERROR, "_end")
    end

    local rev = run .. "-" .. n_text
    local message = message_text(name, id, rev, payload_text)
    fields[4] = message

    local estimate_field, estimate = estimate_after(estimated, name, entered, payload, microseconds)
    if estimate_field then
        fields[#fields + 1] = "_estimate"
        fields[#fields + 1] = estimate_field
    end
    local follows
    if estimate and n < N_MAX then
        fields[2] = format("%.0f", n + 1)
        follows = message_text(ESTIMATE, id, run .. "-" .. fields[2], estimate)
        fields[#fields + 1] = ESTIMATE
        fields[#fields + 1] = follows
    end
    store(key, fields, message, follows)
    return rev
end

local function reset(keys, args)
    prepare()
    if #keys ~= 1 or #args ~= 0 then
        return invalid("call: FCALL progress_reset 1 <key>")
    end
    local key = keys[1]
    local id = task_id_of(key)
    if not id then
        return invalid(KEY_MUST)
    end
    local missing = right_missing(key)
    if missing then
        return missing
    end
    local microseconds = (now())
    local n = next_n(n_of(redis.call("HMGET", key, "n")[1], microseconds), microseconds)
    local run, n_text = run_beginning_at(n), format("%.0f", n)
    local rev = run .. "-" .. n_text

    forget(key)
    redis.call("HDEL", key, "_alive")
    store(key, { "run", run, "n", n_text }, message_text("reset", id, rev, "{}"))
    return rev
end

-- The job's sign of life, apart from its progress.
local function alive(keys, args)
    prepare()
    local key, seconds = keys[1], tonumber(args[1])
    if #keys ~= 1 or #args ~= 1 then
        return invalid("call: FCALL progress_alive 1 <key> <seconds>")
    end
    if not task_id_of(key) then
        return invalid(KEY_MUST)
    end
    if not find(args[1], "^%d+$") or seconds < 1 or seconds > ALIVE_MAX then
        return invalid("the seconds must be a whole number from 1 to " .. ALIVE_MAX)
    end
    local missing = right_missing(key)
    if missing then
        return missing
    end
    if has_ended(key, redis.call("HMGET", key, "_end")[1]) then
        return ended_already()
    end
    redis.call("HSET", key, "_alive", format("%.0f", (now()) + seconds * 1000000))
    redis.call("PEXPIRE", key, STATE_TTL * 1000)
    return redis.status_reply("OK")
end

-- For whoever found a deadline passed: looks again, and the first one to come ends the waiting. A
-- job that never gave a sign of life has no deadline, and a task whose error stands needs no other.
local function lost(keys, args)
    prepare()
    if #keys ~= 1 or #args ~= 0 then
        return invalid("call: FCALL progress_lost 1 <key>")
    end
    local key = keys[1]
    local id = task_id_of(key)
    if not id then
        return invalid(KEY_MUST)
    end
    local missing = right_missing(key)
    if missing then
        return missing
    end
    local held = redis.call("HMGET", key, "run", "n", "_end", "_alive")
    local deadline, microseconds = deadline_of(held[4]), (now())
    if not deadline or deadline > microseconds then
        return false
    end
    redis.call("HDEL", key, "_alive")
    if held[3] == "retry" or has_ended(key, held[3]) then
        return false
    end

    local run, previous = state_of(held[1], held[2], microseconds)
    local n = next_n(previous, microseconds)
    if not run then
        forget(key)
        run = run_beginning_at(n)
    end
    local n_text = format("%.0f", n)
    local rev = run .. "-" .. n_text
    local message = message_text(ERROR, id, rev, '{"code":"JOB_LOST","message":"the job stopped '
        .. 'giving signs of life","retryable":true}')
    store(key, { "run", run, "n", n_text, ERROR, message, "_end", "retry" }, message)
    return rev
end

-- Whether a stored message is the one that was made of this payload.
local function is_made_of(message, text)
    local payload = match(message or "", '"rev":"[^"]*","payload":(.*)}$')
    text = match(text, "^[ \t\r\n]*({.*})[ \t\r\n]*$")
    if not payload or not text then
        return false
    end
    return payload == text or sub(payload, 1, #text - 1) == sub(text, 1, -2)
        and find(sub(payload, #text), '^,"timestamp":"[^"]*"}$') ~= nil
end

-- Publishes what another recorder left: the newest message of each type, oldest first, each with
-- how long ago it came. What the hash has, what came before that, and what came before the run
-- began, is passed over. So it may be called again, and by several.
local function take_over(keys, args)
    prepare()
    if #keys ~= 1 or #args < 3 or #args % 3 ~= 0 then
        return invalid("call: FCALL progress_take_over 1 <key> <type> <milliseconds> <payload> …")
    end
    local key = keys[1]
    if not task_id_of(key) then
        return invalid(KEY_MUST)
    end
    local left, names = {}, { "run", "n" }
    for i = 1, #args, 3 do
        if not TYPES[args[i]] or not find(args[i + 1], "^%d+$") or #args[i + 1] > 9 then
            return invalid("each message must be a type, whole milliseconds and a payload")
        end
        names[#names + 1] = args[i]
        left[#left + 1] = {
            name = args[i], age = tonumber(args[i + 1]) * 1000, payload = args[i + 2],
        }
    end
    local missing = right_missing(key)
    if missing then
        return missing
    end

    local held, microseconds = redis.call("HMGET", key, unpack(names)), (now())
    local run = state_of(held[1], held[2], microseconds)
    local began = run and tonumber(run, 36) or 0
    local first = 1
    for i = #left, 1, -1 do
        if is_made_of(held[2 + i], left[i].payload) then
            first = i + 1
            break
        end
    end
    local recorded, refused = 0, 0
    for i = first, #left do
        local message = left[i]
        if microseconds - message.age + RUN_SLACK >= began then
            if type(publish(keys, { message.name, message.payload })) == "string" then
                recorded = recorded + 1
            else
                refused = refused + 1
            end
        end
    end
    return recorded .. " " .. refused
end

-- The lease of the one active recorder: a plain key that holds its holder's token and expires.
local function lease(keys, args)
    prepare()
    local key, holder, milliseconds = keys[1], args[1], tonumber(args[2])
    if #keys ~= 1 or #args ~= 2 then
        return invalid("call: FCALL progress_lease 1 <key> <holder> <milliseconds>")
    end
    local prefix = match(key, "^([A-Za-z0-9_-]+:)!recorder$")
    if not prefix or #prefix > PREFIX_MAX then
        return invalid("the key must be a prefix that ends in its only colon, and !recorder")
    end
    if holder == "" then
        return invalid("the holder must not be empty")
    end
    if not find(args[2], "^%d+$") or milliseconds > LEASE_MAX then
        return invalid("the milliseconds must be a whole number from 0 to " .. LEASE_MAX)
    end

    local may = redis.acl_check_cmd
    local command = not may("GET", key) and "GET" or not may("SET", key, "") and "SET"
        or not may("DEL", key) and "DEL"
    if command then
        return redis.error_reply("NOPERM this user has no right to " .. command
            .. " on the recorder's lease")
    end
    local held = redis.call("GET", key)
    if held and held ~= holder then
        return 0
    end
    if milliseconds == 0 then
        redis.call("DEL", key)
        return 0
    end
    redis.call("SET", key, holder, "PX", milliseconds)
    return 1
end

redis.register_function("progress_publish", publish)
redis.register_function("progress_reset", reset)
redis.register_function("progress_alive", alive)
redis.register_function("progress_lost", lost)
redis.register_function("progress_take_over", take_over)
redis.register_function("progress_rights", rights)
redis.register_function("progress_lease", lease)
