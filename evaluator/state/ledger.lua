-- What must happen as one step with money; ledger.py names them by the line "-- name". Amounts are whole billionths.

-- pay
-- KEYS: spent, held, held by process, processes   ARGV: process, milliseconds of silence, JSON of
-- {limits: {payer: most}, spent: {payer: amount}, freed: {payer: amount}, wanted: [[[payer, amount], ...], ...],
-- lasts: whether what is reserved stays so however long nothing is heard of who reserved it}
-- First what was settled, then what is wanted, each whole or not at all. Returns for each wanted "+" when it is reserved,
-- "?payer" when what others have reserved is in its way, "!payer" when there is nothing left. A payer with something left
-- and nothing reserved gets one more, whatever it needs: so all is used, and no more than one goes beyond.
local asked = cjson.decode(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(amount) return string.format('%.0f', amount) end
local function add(key, field, amount) redis.call('HINCRBY', key, field, whole(amount)) end
local function known(key, field) return tonumber(redis.call('HGET', key, field) or '0') end
local function free(process, payer, most)
  local mine = process .. '/' .. payer
  local amount = math.min(most, known(KEYS[3], mine))
  if amount <= 0 then return end
  add(KEYS[2], payer, -amount)
  if known(KEYS[3], mine) == amount then redis.call('HDEL', KEYS[3], mine) else add(KEYS[3], mine, -amount) end
end
-- Nobody will settle what a process reserved that was not heard of for so long.
for _, process in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - ARGV[2])) do
  if process ~= ARGV[1] then
    for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
      if string.sub(field, 1, #process + 1) == process .. '/' then free(process, string.sub(field, #process + 2), 2^53) end
    end
    redis.call('ZREM', KEYS[4], process)
  end
end
if not asked.lasts then redis.call('ZADD', KEYS[4], now, ARGV[1]) end
for payer, amount in pairs(asked.spent) do add(KEYS[1], payer, amount) end
for payer, amount in pairs(asked.freed) do free(ARGV[1], payer, amount) end
local spent, held, answers = {}, {}, {}
local function answer(parts)
  local found = '+'
  for _, part in ipairs(parts) do
    local payer, amount = part[1], part[2]
    local most = asked.limits[payer]
    if most and amount > 0 then
      spent[payer] = spent[payer] or known(KEYS[1], payer)
      held[payer] = held[payer] or known(KEYS[2], payer)
      if spent[payer] >= most then return '!' .. payer end
      if held[payer] > 0 and spent[payer] + held[payer] + amount > most then found = '?' .. payer end
    end
  end
  return found
end
for at, parts in ipairs(asked.wanted) do
  answers[at] = answer(parts)
  if answers[at] == '+' then
    for _, part in ipairs(parts) do
      add(KEYS[2], part[1], part[2])
      add(KEYS[3], ARGV[1] .. '/' .. part[1], part[2])
      if held[part[1]] then held[part[1]] = held[part[1]] + part[2] end
    end
  end
end
redis.call('EXPIRE', KEYS[1], 3456000)
for at = 2, 4 do redis.call('EXPIRE', KEYS[at], 172800) end
return answers

-- release
-- KEYS: spent, held, held by process   ARGV: process, JSON of {payer: amount that was spent}
-- Frees all that a process has reserved and adds what was spent instead. Returns 0, and adds nothing, when nothing was
-- reserved: done twice it counts once.
local prefix, found = ARGV[1] .. '/', 0
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if string.sub(field, 1, #prefix) == prefix then
    found = 1
    local amount = 0 - tonumber(redis.call('HGET', KEYS[3], field))
    redis.call('HINCRBY', KEYS[2], string.sub(field, #prefix + 1), string.format('%.0f', amount))
    redis.call('HDEL', KEYS[3], field)
  end
end
if found == 1 then
  for payer, amount in pairs(cjson.decode(ARGV[2])) do
    redis.call('HINCRBY', KEYS[1], payer, string.format('%.0f', amount))
  end
  redis.call('EXPIRE', KEYS[1], 3456000)
end
return found
