-- ARGV: time, path, start of the range of names, how many
if kind == 'file' then return { 'NotDirectory' } end
if kind ~= 'directory' then return { kind } end
local limit = tonumber(ARGV[4])
local found = redis.call('ZRANGEBYLEX', names(path), ARGV[3], '+', 'LIMIT', 0, limit + 1)
local more = ''
if #found > limit then
  table.remove(found)
  more = 'more'
end
local answer = { 'Ok', more }
for _, name in ipairs(found) do
  local below = name
  if path ~= '' then below = path .. '/' .. name end
  local what = 'directory'
  if redis.call('EXISTS', file(below)) == 1 then what = 'file' end
  local facts = stat(below, what)
  answer[#answer + 1] = name
  for place = 1, 5 do answer[#answer + 1] = facts[place] end
end
return answer
