-- What must happen as one step; earlier.py names each script by the line "-- name".

-- keep
-- KEYS: notes of a topic and day, number of the day's topics
-- ARGV: rank, note, how many to keep, seconds to keep them, topics a day
-- Keeps those of the lowest rank. Returns 0 when the day has topics enough and this is another one.
if redis.call('EXISTS', KEYS[1]) == 0 then
  if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[5]) then return 0 end
  redis.call('INCR', KEYS[2])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], ARGV[3], -1)
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
