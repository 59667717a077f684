-- What must happen as one step with sessions; sessions.py names them by the line "-- name".

-- taken
-- KEYS: sessions   ARGV: JSON [[member, due], ...]
-- A session that went on meanwhile has another time and stays. Returns how many were removed.
local removed = 0
for _, one in ipairs(cjson.decode(ARGV[1])) do
  local due = redis.call('ZSCORE', KEYS[1], one[1])
  if due and tonumber(due) == one[2] then removed = removed + redis.call('ZREM', KEYS[1], one[1]) end
end
return removed
