-- What must happen as one step. One script each; state.py names them by the line "-- name".

-- unclaimed
-- KEYS: bucket...   ARGV: JSON [trace id, ...]
-- Returns a text with one digit for each id: 1 when it is in one of the buckets, else 0.
local ids = cjson.decode(ARGV[1])
local digits = {}
for at = 1, #ids do digits[at] = '0' end
for _, bucket in ipairs(KEYS) do
  if redis.call('EXISTS', bucket) == 1 then
    for at = 1, #ids, 1000 do
      local found = redis.call('SMISMEMBER', bucket, unpack(ids, at, math.min(at + 999, #ids)))
      for i = 1, #found do
        if found[i] == 1 then digits[at + i - 1] = '1' end
      end
    end
  end
end
return table.concat(digits)

-- claim
-- KEYS: funnel, bucket...   ARGV: seconds to keep, JSON [[bucket index, [funnel field, ...], [trace id, ...]], ...]
-- Returns how many were new. A trace counts in the funnel once, however often it is claimed.
local fresh = 0
for _, one in ipairs(cjson.decode(ARGV[2])) do
  local ids, new = one[3], 0
  for at = 1, #ids, 1000 do
    new = new + redis.call('SADD', KEYS[1 + one[1]], unpack(ids, at, math.min(at + 999, #ids)))
  end
  if new > 0 then
    for _, field in ipairs(one[2]) do redis.call('HINCRBY', KEYS[1], field, new) end
  end
  fresh = fresh + new
end
for i = 2, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
return fresh

-- settle
-- KEYS: funnel, dead, dead:at, bucket...
-- ARGV: seconds to keep, JSON [[bucket index, trace id, evaluator, terminal state, dead letter?, its time?], ...]
-- The first terminal state of a (trace, evaluator) stays; only it is counted, only it leaves a letter. But a score that
-- Langfuse holds is a fact: it takes the place of any other state, and the letter is void.
local fresh = 0
local counts = {}
local function count(evaluator, state, number)
  local name = evaluator .. '/' .. (string.find(state, '/', 1, true) and state or state .. '/')
  counts[name] = (counts[name] or 0) + number
end
for _, one in ipairs(cjson.decode(ARGV[2])) do
  local bucket, pair, evaluator, state = KEYS[3 + one[1]], one[2] .. '/' .. one[3], one[3], one[4]
  local before = redis.call('HGET', bucket, pair)
  if not before then
    fresh = fresh + 1
    if one[5] then
      redis.call('HSET', KEYS[2], pair, one[5])
      redis.call('ZADD', KEYS[3], one[6], pair)
    end
  elseif state == 'scored' and before ~= 'scored' then
    count(evaluator, before, -1)
    redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
  end
  if not before or (state == 'scored' and before ~= 'scored') then
    redis.call('HSET', bucket, pair, state)
    count(evaluator, state, 1)
  end
end
for field, number in pairs(counts) do redis.call('HINCRBY', KEYS[1], field, number) end
for i = 4, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[1]) end
return fresh

-- remember
-- KEYS: outcomes...   ARGV: seconds to keep, then for each key a field and its value
for i, key in ipairs(KEYS) do
  redis.call('HSET', key, ARGV[2 * i], ARGV[2 * i + 1])
  redis.call('EXPIRE', key, ARGV[1])
end
return #KEYS

-- remembered
-- KEYS: outcomes...
-- Returns place and content (field, value, ...) of each that is not empty: nearly all are.
local found = {}
for i, key in ipairs(KEYS) do
  local content = redis.call('HGETALL', key)
  if #content > 0 then
    found[#found + 1] = i
    found[#found + 1] = content
  end
end
return found

-- reopen
-- KEYS: funnel, dead, dead:at, bucket...
-- ARGV: the reason of what had no money, JSON [[bucket index, trace id, evaluator, 1 when its score is to be replaced], ...]
-- Returns for each: 1 when it may be evaluated anew, 0 when it has ended for good: with a score that stays, or without.
-- One that had ended is counted as if it had not; one of which nothing is known is counted as sampled.
local answers = {}
for place, one in ipairs(cjson.decode(ARGV[2])) do
  local bucket, pair, evaluator = KEYS[3 + one[1]], one[2] .. '/' .. one[3], one[3]
  local state = redis.call('HGET', bucket, pair)
  local failed = state and string.find(state, 'failed', 1, true) == 1
  answers[place] = 1
  if not state then
    redis.call('HINCRBY', KEYS[1], evaluator .. '/sampled/', 1)
  elseif failed or (state == 'scored' and one[4] == 1) or state == 'skipped/' .. ARGV[1] then
    redis.call('HDEL', bucket, pair)
    redis.call('HINCRBY', KEYS[1], evaluator .. '/' .. state .. (state == 'scored' and '/' or ''), -1)
    redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
  else
    answers[place] = 0
  end
end
return answers

-- lease
-- KEYS: lease   ARGV: owner, milliseconds. Returns 1 when the owner holds it now.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

-- release
-- KEYS: lease   ARGV: owner
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0

-- permits
-- KEYS: pause, window   ARGV: requests a minute (0: no limit), how many are wanted
-- Returns how many may go now, and the milliseconds to the next. Evenly spaced with a burst of a tenth of the minute's
-- requests (generic cell rate algorithm), on the server's clock, so that all workers agree. A burst and the evenly
-- spaced ones behind it never come to more than the limit within a minute, whenever the provider starts to count, nor
-- within a second more: requests take different times on their way.
local wanted = tonumber(ARGV[2])
local pause = redis.call('PTTL', KEYS[1])
if pause > 0 then return {0, pause} end
local per_minute = tonumber(ARGV[1])
if per_minute <= 0 then return {wanted, 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local burst = math.max(1, math.floor(per_minute / 10))
local spacing = 61000 / (per_minute - burst + 1)
local due = math.max(now, tonumber(redis.call('GET', KEYS[2]) or '0'))
local granted = math.max(0, math.min(wanted, math.floor((now - due) / spacing + burst + 0.001)))
due = due + granted * spacing
if granted > 0 then redis.call('SET', KEYS[2], string.format('%.17g', due), 'PX', 120000) end
if granted == wanted then return {granted, 0} end
return {granted, math.max(1, math.ceil(due - now - (burst - 1) * spacing))}

-- pause
-- KEYS: pause   ARGV: milliseconds. A shorter pause never cuts a longer one.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
