-- Circuits of models, each as one step. One script each; circuits.py names them by the line "-- name".

-- look
-- KEYS: circuit...   ARGV: 1 when the caller would try a model that is due
-- Returns for each circuit false when it is closed, else {why, milliseconds to the next trial, 1 when the caller tries}.
-- Whoever tries keeps all others from it for the length of a pause.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for i, key in ipairs(KEYS) do
  local known = redis.call('HMGET', key, 'why', 'due', 'pause')
  if not known[1] then
    found[i] = false
  else
    local left, tries = tonumber(known[2]) - now, 0
    if left <= 0 and ARGV[1] == '1' then
      left, tries = tonumber(known[3]), 1
      redis.call('HSET', key, 'due', now + left)
    end
    found[i] = {known[1], math.max(0, left), tries}
  end
end
return found

-- open
-- KEYS: circuit, told, outbox
-- ARGV: why, 1 when it was a trial that failed, first and longest pause, milliseconds to keep it, milliseconds for which
-- people are not told again, name of the message, the message (empty: nobody is told)
-- Returns {1 when it opened now, milliseconds to the next trial}. A failed trial doubles the pause.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'due', 'pause')
if known[1] then
  if ARGV[2] ~= '1' then return {0, math.max(0, known[1] - now)} end
  local pause = math.min(2 * known[2], tonumber(ARGV[4]))
  redis.call('HSET', KEYS[1], 'due', now + pause, 'pause', pause)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return {0, pause}
end
redis.call('HSET', KEYS[1], 'why', ARGV[1], 'due', now + ARGV[3], 'pause', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
if ARGV[8] ~= '' and redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[6]) then
  redis.call('HSET', KEYS[3], ARGV[7] .. '/' .. now, ARGV[8])
end
return {1, tonumber(ARGV[3])}

-- close
-- KEYS: circuit
return redis.call('DEL', KEYS[1])
