-- How many calls of a model a process may have in the air, as the fleet last learned; paces.py names scripts by "-- name".

-- slow
-- KEYS: pace   ARGV: milliseconds since 1970 of the last cut the caller knows, its calls from now on, milliseconds to keep
-- Returns {when the cut was that counts, 1 when it is the caller's}. Of all who meet the same overload one cuts: whoever
-- comes second learns of the cut that was made.
local at = tonumber(redis.call('HGET', KEYS[1], 'at') or '0')
if at > tonumber(ARGV[1]) then return {at, 0} end
local time = redis.call('TIME')
local now = math.max(at + 1, time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], 'at', now, 'calls', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {now, 1}
