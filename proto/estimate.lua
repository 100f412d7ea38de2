-- ── Estimates ────────────────────────────────────────────────────────────────────────────────────
-- How long a task will still take, from how its percentage moved. tests/bench/estimates judges it.
--
-- A pace is the seconds that one point of the percentage takes: a sum of time over a sum of points,
-- in which what is older weighs less. How fast it fades goes by the age, the time that this stage
-- has been moving: a tenth of it in the quick pace, which follows a job that changes its speed, and
-- four tenths in the steady one. The estimate lies between what the two say, and the further apart
-- they are the less it is trusted.
--
--   - A new stage may have another speed: of the old one no more than a second is remembered.
--   - Time without progress counts only so far as PAUSE_MAX moves like it would have taken. So a
--     stall isn't taken for a slow job, and a job that became slow is believed step by step.
--   - Within a stage the estimate falls freely, but rises by no more than RISE_MAX in 10 seconds.
--   - What is told is a chance: that what is left is within a quarter of the estimate.
--
-- The field _estimate holds the numbers below, or "own" when the job sends estimates of its own.
local OWN_ESTIMATE = "own"
local LOOK_EVERY = 200000 -- microseconds: what comes more often tells nothing more
local TELL_EVERY, TELL_CHANGE = 2, 0.1 -- seconds; or a change by more than this part
local QUICK_SHARE, QUICK_LEAST = 0.1, 2 -- of the age; seconds
local STEADY_SHARE, STEADY_LEAST = 0.4, 2
local QUICK_WEIGHT = 0.6
local PAUSE_MAX = 8
local REMEMBERED = 1 -- seconds
local RISE_MAX = 1.18 -- a fifth, with room for rounding
local AGE_LEAST, MOVES_LEAST = 0.8, 2 -- before the first estimate of a stage
local SECONDS_LEAST, SECONDS_MOST = 1, 1e9

-- Text, since a reader that takes a whole hash for UTF-8 must not stumble.
local ESTIMATE_FORMAT = "%.0f %.0f %.17g %.5g %.5g %.0f %.6g %.6g %.6g %.6g %.6g %.0f"
local ESTIMATE_PATTERN = "^(%d+) (%d+) (%S+) (%S+) (%S+) (%d+) (%S+) (%S+) (%S+) (%S+) (%S+) (%d+)$"

-- What the field holds, or nil.
local function estimate_read(field)
    local looked, moved, percentage, step, age, moves, quick_time, quick_points, steady_time,
        steady_points, told, told_at = match(field or "", ESTIMATE_PATTERN)
    if not looked then
        return
    end
    return {
        looked = tonumber(looked), -- when an update was last looked at, in microseconds
        moved = tonumber(moved), -- when the percentage last rose
        percentage = tonumber(percentage), -- -1: not known yet
        step = tonumber(step), -- how many seconds its last rise took
        age = tonumber(age), -- seconds
        moves = tonumber(moves), -- how often the percentage rose in this stage
        quick_time = tonumber(quick_time), quick_points = tonumber(quick_points),
        steady_time = tonumber(steady_time), steady_points = tonumber(steady_points),
        told = tonumber(told), -- the estimate last told in this stage; 0: none
        told_at = tonumber(told_at),
    }
end

local function estimate_write(state)
    return format(ESTIMATE_FORMAT, state.looked, state.moved, state.percentage, state.step,
        state.age, state.moves, state.quick_time, state.quick_points, state.steady_time,
        state.steady_points, state.told, state.told_at)
end

-- Both sums multiplied, so that time is at most REMEMBERED.
local function faded(time, points)
    local factor = time > REMEMBERED and REMEMBERED / time or 1
    return time * factor, points * factor
end

-- The field when a stage is entered; `percentage` is nil when the message has none.
local function estimate_stage(field, microseconds, percentage)
    local state = estimate_read(field) or {
        percentage = -1, quick_time = 0, quick_points = 0, steady_time = 0, steady_points = 0,
    }
    state.quick_time, state.quick_points = faded(state.quick_time, state.quick_points)
    state.steady_time, state.steady_points = faded(state.steady_time, state.steady_points)
    state.percentage = percentage or state.percentage
    state.looked, state.moved = microseconds, microseconds
    state.step, state.age, state.moves, state.told, state.told_at = 0, 0, 0, 0, 0
    return estimate_write(state)
end

-- Both sums after `points` more that took `seconds`.
local function paced(time, points_before, seconds, points, memory)
    local factor = math.exp(-seconds / memory)
    return time * factor + seconds, points_before * factor + points
end

-- Takes in that the percentage rose.
local function estimate_move(state, seconds, points)
    if state.moves >= MOVES_LEAST then
        seconds = math.min(seconds, PAUSE_MAX * points * state.quick_time / state.quick_points)
    end
    state.age = state.age + seconds
    state.moves = state.moves + 1
    state.step = seconds
    state.quick_time, state.quick_points = paced(state.quick_time, state.quick_points, seconds,
        points, math.max(QUICK_SHARE * state.age, QUICK_LEAST))
    state.steady_time, state.steady_points = paced(state.steady_time, state.steady_points, seconds,
        points, math.max(STEADY_SHARE * state.age, STEADY_LEAST))
end

-- The seconds left, and the confidence in them; or nil while too little is known, or there is
-- nothing new to tell.
local function estimate_tell(state, microseconds)
    if state.moves < MOVES_LEAST or state.age < AGE_LEAST then
        return
    end
    local quick = state.quick_time / state.quick_points
    local steady = state.steady_time / state.steady_points
    local since_move = math.min((microseconds - state.moved) / 1e6, state.step)
    local left = (100 - state.percentage) * quick ^ QUICK_WEIGHT * steady ^ (1 - QUICK_WEIGHT)
        - since_move
    left = math.max(left, SECONDS_LEAST)
    local seconds = left
    if state.told > 0 then
        local since_told = (microseconds - state.told_at) / 1e6
        seconds = math.min(left, state.told * RISE_MAX ^ (since_told / 10))
        if since_told < TELL_EVERY
            and math.abs(seconds - state.told) <= TELL_CHANGE * state.told then
            return
        end
    end
    -- A number that is none is in no range.
    if not (seconds >= SECONDS_LEAST and seconds <= SECONDS_MOST) then
        return
    end
    local seen = state.age / (state.age + seconds)
    local apart = math.abs(math.log(quick / steady))
    local confidence = (0.25 + 0.6 * math.sqrt(seen)) * math.exp(-apart) * seconds / left
    state.told, state.told_at = seconds, microseconds
    return seconds, math.max(0, math.min(confidence, 1))
end

-- The field after an update, or nil when it stays as it is; and the estimate with its confidence,
-- when there is one to tell.
local function estimate_update(field, microseconds, percentage)
    local looked = field and tonumber(match(field, "^%d+"))
    if looked and microseconds >= looked and microseconds - looked < LOOK_EVERY then
        return
    end
    local state = estimate_read(field)
    if not state then
        return estimate_stage(nil, microseconds, percentage)
    end
    state.looked = microseconds
    local points = percentage - state.percentage
    if state.percentage < 0 or points < 0 or microseconds <= state.moved then
        -- The first percentage, one that fell, or a clock that was set back.
        state.moved, state.percentage = microseconds, percentage
        state.told_at = math.min(state.told_at, microseconds)
        return estimate_write(state)
    end
    if points > 0 then
        estimate_move(state, (microseconds - state.moved) / 1e6, points)
        state.moved, state.percentage = microseconds, percentage
    end
    local seconds, confidence = estimate_tell(state, microseconds)
    return estimate_write(state), seconds, confidence
end
