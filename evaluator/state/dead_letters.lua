-- What becomes of dead letters, each as one step; dead_letters.py names the scripts by the line "-- name".
-- KEYS of all: funnel, dead, dead:at, dead:begun, dead:counts, then of each row the bucket of its terminal state and its
-- remembered outcomes. ARGV of all: seconds to keep a state, JSON [[trace id, evaluator, kind of failure, time], ...]
-- The funnel of the hour, what is told to /metrics and the pairs that are open stand beside these keys.
-- A letter with another time than that in its row is another one, which somebody wrote since: it is left alone.

-- begin
-- Returns for each: 1 when its job may be put on the queue, 0 when it is gone or its pair has ended otherwise since.
-- The state `failed` is taken away once, however often this runs; failures that are remembered would only be repeated.
local answers = {}
for place, one in ipairs(cjson.decode(ARGV[2])) do
  local pair, at, answer = one[1] .. '/' .. one[2], one[4], 0
  local bucket, outcomes = KEYS[4 + 2 * place], KEYS[5 + 2 * place]
  local letter = redis.call('HGET', KEYS[2], pair)
  if letter and cjson.decode(letter)['at'] == at then
    local state = redis.call('HGET', bucket, pair)
    if state and string.find(state, 'failed', 1, true) ~= 1 then
      redis.call('HDEL', KEYS[2], pair)
      redis.call('ZREM', KEYS[3], pair)
      redis.call('HDEL', KEYS[4], pair)
    else
      answer = 1
      if redis.call('HGET', KEYS[4], pair) ~= at then
        redis.call('HSET', KEYS[4], pair, at)
        redis.call('HDEL', bucket, pair)
        local open = (string.gsub(bucket, ':settled:', ':open:'))
        if redis.call('SREM', open, pair .. ' early') == 0 then redis.call('SADD', open, pair) end
        redis.call('EXPIRE', open, 2592000)
        local field, hour = one[2] .. '/failed/' .. one[3], (string.gsub(bucket, ':settled:', ':hour:'))
        redis.call('HINCRBY', KEYS[1], field, -1)
        if redis.call('EXISTS', hour) == 1 then redis.call('HINCRBY', hour, field, -1) end
        local told = cjson.encode({'taken_back', one[2], 'failed', one[3]})
        redis.call('HINCRBYFLOAT', (string.gsub(KEYS[1], 'funnel$', 'counters')), told, 1)
        redis.call('HINCRBY', KEYS[5], 'replayed', 1)
        for _, memory in ipairs(redis.call('HKEYS', outcomes)) do
          if string.sub(memory, 1, #one[2] + 1) == one[2] .. '@'
            and cjson.decode(redis.call('HGET', outcomes, memory))['is'] == 'failure' then
            redis.call('HDEL', outcomes, memory)
          end
        end
      end
    end
  end
  answers[place] = answer
end
return answers

-- finish
-- Forgets letters whose jobs are on the queue. Returns for each whether it was there.
local answers = {}
for place, one in ipairs(cjson.decode(ARGV[2])) do
  local pair = one[1] .. '/' .. one[2]
  local letter = redis.call('HGET', KEYS[2], pair)
  answers[place] = 0
  if letter and cjson.decode(letter)['at'] == one[4] then
    answers[place] = redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
  end
  if redis.call('HGET', KEYS[4], pair) == one[4] then redis.call('HDEL', KEYS[4], pair) end
end
return answers

-- drop
-- Forgets letters for good. Returns for each whether it was there. A pair whose replay had only begun has failed again.
local answers = {}
for place, one in ipairs(cjson.decode(ARGV[2])) do
  local pair, bucket = one[1] .. '/' .. one[2], KEYS[4 + 2 * place]
  local letter = redis.call('HGET', KEYS[2], pair)
  answers[place] = 0
  if letter and cjson.decode(letter)['at'] == one[4] then
    answers[place] = redis.call('HDEL', KEYS[2], pair)
    redis.call('ZREM', KEYS[3], pair)
    redis.call('HINCRBY', KEYS[5], 'dropped', 1)
    if redis.call('HGET', KEYS[4], pair) == one[4] and redis.call('HSETNX', bucket, pair, 'failed/' .. one[3]) == 1 then
      redis.call('EXPIRE', bucket, ARGV[1])
      redis.call('SREM', (string.gsub(bucket, ':settled:', ':open:')), pair)
      local field, hour = one[2] .. '/failed/' .. one[3], (string.gsub(bucket, ':settled:', ':hour:'))
      redis.call('HINCRBY', KEYS[1], field, 1)
      if redis.call('EXISTS', hour) == 1 then redis.call('HINCRBY', hour, field, 1) end
    end
    redis.call('HDEL', KEYS[4], pair)
  end
end
return answers
