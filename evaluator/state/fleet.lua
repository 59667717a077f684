-- What must happen as one step. One script each; fleet.py names them by the line "-- name".

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
-- KEYS: funnel, promises, bucket..., funnel of each bucket's hour...
-- ARGV: seconds to keep, JSON [[bucket index, [funnel field, ...], [trace id, ...]], ...], seconds to keep hours,
--   slot of the promise or '', seconds to keep promises
-- Returns how many were new. A trace counts in the funnel once, however often it is claimed, and a pair as sampled once,
-- whoever hands it over: N:open:HOUR beside the bucket holds the pairs that are counted and have not ended.
local fresh, buckets, slot = 0, (#KEYS - 2) / 2, ARGV[4]
local function opened(bucket, ids, evaluator)
  local open, settled = (string.gsub(bucket, ':claimed:', ':open:')), (string.gsub(bucket, ':claimed:', ':settled:'))
  local own, number = '/' .. evaluator, 0
  for at = 1, #ids, 1000 do
    local pairs, new = {}, {}
    for i = at, math.min(at + 999, #ids) do
      local id = string.gsub(ids[i], '/late$', '')  -- what an evaluator claims for itself is ID/EVALUATOR
      pairs[#pairs + 1] = string.sub(id, -#own) == own and id or id .. own
    end
    local states = redis.call('HMGET', settled, unpack(pairs))
    for i, pair in ipairs(pairs) do
      if not states[i] then
        new[#new + 1] = pair
      else  -- a worker was faster than this claim
        number = number + redis.call('SREM', open, pair .. ' early')
      end
    end
    if #new > 0 then number = number + redis.call('SADD', open, unpack(new)) end
  end
  redis.call('EXPIRE', open, 2592000)
  return number
end
for _, one in ipairs(cjson.decode(ARGV[2])) do
  local ids, new = one[3], 0
  for at = 1, #ids, 1000 do
    new = new + redis.call('SADD', KEYS[2 + one[1]], unpack(ids, at, math.min(at + 999, #ids)))
  end
  if new > 0 then
    for _, field in ipairs(one[2]) do
      local is_sampled, number = string.sub(field, -9) == '/sampled/', new
      if is_sampled then number = opened(KEYS[2 + one[1]], ids, string.sub(field, 1, -10)) end
      if number > 0 then
        redis.call('HINCRBY', KEYS[1], field, number)
        redis.call('HINCRBY', KEYS[2 + buckets + one[1]], field, number)
        if slot ~= '' and is_sampled then
          redis.call('HINCRBY', KEYS[2], slot .. '/' .. string.sub(field, 1, -2), number)
        end
      end
    end
  end
  fresh = fresh + new
end
for i = 1, buckets do
  redis.call('EXPIRE', KEYS[2 + i], ARGV[1])
  redis.call('EXPIRE', KEYS[2 + buckets + i], ARGV[3])
end
if slot ~= '' then redis.call('EXPIRE', KEYS[2], ARGV[5]) end
return fresh

-- settle
-- KEYS: funnel, dead, dead:at, counters, bucket..., funnel of each bucket's hour..., promises...
-- ARGV: seconds to keep, JSON [[bucket index, trace id, evaluator, terminal state, dead letter or '', its time,
--   promises index or 0, field of the promise], ...], seconds to keep hours, number of buckets, seconds to keep promises
-- The first terminal state of a (trace, evaluator) stays; only it is counted, only it leaves a letter. But a score that
-- Langfuse holds is a fact: it takes the place of any other state, and the letter is void. What is taken back so is
-- counted too: a counter of /metrics never goes back. A pair that ends is open no more (see claim); one that ends before
-- its claim is noted there as early.
local fresh, buckets = 0, tonumber(ARGV[4])
local counts, ended = {}, {}
local function count(hour, evaluator, state, number)
  local name = evaluator .. '/' .. (string.find(state, '/', 1, true) and state or state .. '/')
  for _, key in ipairs({KEYS[1], hour}) do
    counts[key] = counts[key] or {}
    counts[key][name] = (counts[key][name] or 0) + number
  end
end
for _, one in ipairs(cjson.decode(ARGV[2])) do
  local bucket, hour, pair, evaluator = KEYS[4 + one[1]], KEYS[4 + buckets + one[1]], one[2] .. '/' .. one[3], one[3]
  local state, before = one[4], redis.call('HGET', bucket, pair)
  if not before then
    fresh = fresh + 1
    ended[one[1]] = ended[one[1]] or {}
    table.insert(ended[one[1]], pair)
    if one[5] ~= '' then
      redis.call('HSET', KEYS[2], pair, one[5])
      redis.call('ZADD', KEYS[3], one[6], pair)
    end
    if one[7] > 0 then redis.call('HINCRBY', KEYS[4 + 2 * buckets + one[7]], one[8], 1) end
  elseif state == 'scored' and before ~= 'scored' then
    count(hour, evaluator, before, -1)
    local cut = string.find(before, '/', 1, true) or #before + 1
    local told = {'taken_back', evaluator, string.sub(before, 1, cut - 1), string.sub(before, cut + 1)}
    redis.call('HINCRBYFLOAT', KEYS[4], cjson.encode(told), 1)
    redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
  end
  if not before or (state == 'scored' and before ~= 'scored') then
    redis.call('HSET', bucket, pair, state)
    count(hour, evaluator, state, 1)
  end
end
for key, fields in pairs(counts) do
  for field, number in pairs(fields) do redis.call('HINCRBY', key, field, number) end
end
for place, all in pairs(ended) do
  local open = (string.gsub(KEYS[4 + place], ':settled:', ':open:'))
  for at = 1, #all, 1000 do
    local last, early = math.min(at + 999, #all), {}
    local known = redis.call('SMISMEMBER', open, unpack(all, at, last))
    for i = at, last do
      if known[i - at + 1] == 0 then early[#early + 1] = all[i] .. ' early' end
    end
    redis.call('SREM', open, unpack(all, at, last))
    if #early > 0 then
      redis.call('SADD', open, unpack(early))
      redis.call('EXPIRE', open, 2592000)
    end
  end
end
for i = 1, buckets do
  redis.call('EXPIRE', KEYS[4 + i], ARGV[1])
  redis.call('EXPIRE', KEYS[4 + buckets + i], ARGV[3])
end
for i = 5 + 2 * buckets, #KEYS do redis.call('EXPIRE', KEYS[i], ARGV[5]) end
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
-- ARGV: the reason of what had no money, JSON [[bucket index, trace id, evaluator, whether its score is to be replaced],
--   ...]
-- Returns for each: 1 when it may be evaluated anew, 0 when it has ended for good: with a score that stays, or without.
-- One that had ended is counted as if it had not; any other as sampled, unless it is open: on the queue, waiting for
-- money or in a provider's batch, and counted. The funnel of the hour, what is told to /metrics and what is open stand
-- beside these keys.
local answers = {}
local function count(bucket, evaluator, state, number)
  local hour, cut = (string.gsub(bucket, ':settled:', ':hour:')), string.find(state, '/', 1, true)
  local field = evaluator .. '/' .. (cut and state or state .. '/')
  redis.call('HINCRBY', KEYS[1], field, number)
  redis.call('HINCRBY', hour, field, number)
  redis.call('EXPIRE', hour, 1209600)
  if number < 0 then
    local told = {'taken_back', evaluator, string.sub(state, 1, (cut or #state + 1) - 1), string.sub(state, (cut or #state) + 1)}
    redis.call('HINCRBYFLOAT', (string.gsub(KEYS[1], 'funnel$', 'counters')), cjson.encode(told), 1)
  end
end
for place, one in ipairs(cjson.decode(ARGV[2])) do
  local bucket, pair, evaluator = KEYS[3 + one[1]], one[2] .. '/' .. one[3], one[3]
  local state = redis.call('HGET', bucket, pair)
  local failed = state and string.find(state, 'failed', 1, true) == 1
  local open = (string.gsub(bucket, ':settled:', ':open:'))
  answers[place] = 1
  if not state then
    if redis.call('SADD', open, pair) == 1 then count(bucket, evaluator, 'sampled', 1) end
  elseif failed or (state == 'scored' and one[4]) or state == 'skipped/' .. ARGV[1] then
    redis.call('HDEL', bucket, pair)
    -- One that ended before its claim is not counted as sampled yet: the claim, or the next to take it up, counts it.
    if redis.call('SREM', open, pair .. ' early') == 0 then redis.call('SADD', open, pair) end
    count(bucket, evaluator, state, -1)
    redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
  else
    answers[place] = 0
  end
  if answers[place] == 1 then redis.call('EXPIRE', open, 2592000) end
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
-- KEYS: pause, window, window of those that go first
-- ARGV: requests a minute (0: no limit), how many are wanted, whose turn: 'first', 'behind' them, or '' where all are one
-- Returns how many may go now, and the milliseconds to the next. Evenly spaced with a burst of a tenth of the minute's
-- requests (generic cell rate algorithm), on the server's clock, so that all workers agree. A burst and the evenly
-- spaced ones behind it never come to more than the limit within a minute, whenever the provider starts to count, nor
-- within a second more: requests take different times on their way. One request of the burst is left to those that go
-- first, by those behind them; what they take of it comes back before anybody behind has a turn. Of the minute they have
-- so half, and three at once: for what is beyond they wait like the others.
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
local free = math.max(0, math.floor((now - due) / spacing + burst + 0.001))
local kept = ARGV[3] ~= '' and burst > 1 and 1 or 0
local granted, share, first_due, at_once = math.min(wanted, math.max(0, free - kept)), 0, now, math.min(burst, 3)
if ARGV[3] == 'first' then
  first_due = math.max(now, tonumber(redis.call('GET', KEYS[3]) or '0'))
  share = math.max(0, math.floor((now - first_due) / (2 * spacing) + at_once + 0.001))
  granted = math.max(granted, math.min(wanted, free, share))
  first_due = first_due + math.min(granted, share) * 2 * spacing
end
due = due + granted * spacing
if granted > 0 then
  redis.call('SET', KEYS[2], string.format('%.17g', due), 'PX', 120000)
  if share > 0 then redis.call('SET', KEYS[3], string.format('%.17g', first_due), 'PX', 120000) end
end
if granted == wanted then return {granted, 0} end
local one, wait = due - now - (burst - 1) * spacing, due - now - (burst - 1 - kept) * spacing
if ARGV[3] == 'first' then
  wait = math.min(wait, math.max(one, first_due - now - (at_once - 1) * 2 * spacing))
end
return {granted, math.max(1, math.ceil(wait))}

-- pause
-- KEYS: pause   ARGV: milliseconds. A shorter pause never cuts a longer one.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return 1
