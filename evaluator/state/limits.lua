-- What must happen as one step with limits of tokens; token_limits.py names it by the line "-- name".

-- tokens
-- KEYS: pause, requests window, tokens window   ARGV: requests a minute (0: no limit), tokens a minute,
-- tokens that were reserved and not used (negative: used beyond), JSON [tokens of a request, ...]
-- Returns how many of the first requests may go now, and the milliseconds to the next. Requests are spaced as by the
-- script "permits" of fleet.lua. A request may go while less than a tenth of the minute's tokens are reserved ahead;
-- one that is larger than that goes too, and those behind it wait the longer.
local pause = redis.call('PTTL', KEYS[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function due(key) return math.max(now, tonumber(redis.call('GET', key) or '0')) end
local function keep(key, value) redis.call('SET', key, string.format('%.17g', value), 'PX', 120000 + math.ceil(value - now)) end
local a_token = 61000 / (0.9 * tonumber(ARGV[2]))
local ahead = 0.1 * tonumber(ARGV[2]) * a_token
local returned = tonumber(ARGV[3])
local tokens_due = due(KEYS[3])
if returned ~= 0 then
  tokens_due = math.max(now, tokens_due - returned * a_token)
  keep(KEYS[3], tokens_due)
end
if pause > 0 then return {0, pause} end
local wanted = cjson.decode(ARGV[4])
local per_minute = tonumber(ARGV[1])
local requests_due, burst, spacing = now, #wanted, 0
if per_minute > 0 then
  requests_due = due(KEYS[2])
  burst = math.max(1, math.floor(per_minute / 10))
  spacing = 61000 / (per_minute - burst + 1)
end
local granted, wait = 0, 0
for _, tokens in ipairs(wanted) do
  local for_request = per_minute > 0 and requests_due - now - (burst - 1) * spacing or 0
  wait = math.max(for_request, tokens_due - now - ahead)
  if wait > 0.001 then break end
  granted = granted + 1
  requests_due = requests_due + spacing
  tokens_due = tokens_due + tokens * a_token
end
if granted > 0 then
  keep(KEYS[3], tokens_due)
  if per_minute > 0 then keep(KEYS[2], requests_due) end
end
if granted == #wanted then return {granted, 0} end
return {granted, math.max(1, math.ceil(wait))}
