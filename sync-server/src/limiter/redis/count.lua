-- Counts once in all keys, or in none where one is used up. Each key is a list of the microseconds at which it was counted,
-- the oldest first. The clock is this server's own: those of the callers do not matter.
-- KEYS: what is counted. ARGV: for each key its limit and its window in microseconds.
-- Answers 1 or 0, then for each key how many remain, and in how many microseconds a place becomes free.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- Numbers of this size would lose digits if Lua wrote them as it likes.
local now_text = string.format('%.0f', now)

local function at(key, index)
    return tonumber(redis.call('LINDEX', key, index))
end

-- How many have left the window. A search by halves: a million that left together must not hold up the server.
local function gone(key, length, until_us)
    if length == 0 or at(key, 0) > until_us then return 0 end
    local low, high = 1, length
    while low < high do
        local middle = math.floor((low + high) / 2)
        if at(key, middle) <= until_us then low = middle + 1 else high = middle end
    end
    return low
end

local allowed = 1
local taken = {}
for number, key in ipairs(KEYS) do
    local limit, window = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
    local length = redis.call('LLEN', key)
    -- The clock was set back: what lies ahead happened before now, and must not stay longer than a window from now.
    local ahead = 0
    while ahead < length and at(key, -1) > now do
        redis.call('RPOP', key)
        ahead = ahead + 1
    end
    for _ = 1, ahead do redis.call('RPUSH', key, now_text) end
    local left = gone(key, length, now - window)
    if left > 0 then redis.call('LTRIM', key, left, -1) end
    taken[number] = length - left
    if taken[number] >= limit then allowed = 0 end
end

local answer = { allowed }
for number, key in ipairs(KEYS) do
    local limit, window = tonumber(ARGV[2 * number - 1]), tonumber(ARGV[2 * number])
    if allowed == 1 then
        redis.call('RPUSH', key, now_text)
        redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(window / 1000) + 1))
        taken[number] = taken[number] + 1
    end
    local frees = 0
    if taken[number] > 0 then
        -- More than are allowed are there only where the limit was lowered.
        frees = at(key, math.max(0, taken[number] - limit)) + window - now
    end
    answer[#answer + 1] = math.max(0, limit - taken[number])
    answer[#answer + 1] = frees
end
return answer
