-- ARGV: time, path, mode, bytes, expected version ('' for any), labels, when it expires ('' for never, or as before),
--       most bytes and most files of the store, most bytes of a file, most labels
local mode, bytes, expected, labels, expires = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local most_bytes, most_files = tonumber(ARGV[8]), tonumber(ARGV[9])

if kind == 'directory' then return { 'IsDirectory' } end
if kind == 'NotDirectory' then return { kind } end
local is_new = kind ~= 'file'
local old = { '', '', '0', '', '' }
if not is_new then old = stat(path, kind) end
local held, kept = tonumber(old[3]) or 0, 0

if mode == 'CreateNew' and not is_new then return { 'Exists' } end
if expected ~= '' and (is_new or expected ~= old[4]) then return { 'Conflict' } end

if mode == 'Append' and not is_new then
  kept = held
  if redis.call('STRLEN', content(path)) ~= held then return { 'Damaged' } end
  local seen, all = {}, {}
  for _, list in ipairs({ old[2], labels }) do
    for label in string.gmatch(list, '[^\n]+') do
      if not seen[label] then
        seen[label] = true
        all[#all + 1] = label
      end
    end
  end
  if #all > tonumber(ARGV[11]) then return { 'TooManyLabels' } end
  labels = table.concat(all, '\n')
  if expires == '' then expires = old[5] end
end
local size = kept + #bytes
if size > tonumber(ARGV[10]) then return { 'TooLarge' } end

local usage = redis.call('HMGET', store, 'bytes', 'files')
local used, files = tonumber(usage[1] or '0'), tonumber(usage[2] or '0')
if size > held and used - held + size > most_bytes then return { 'Quota' } end
if is_new and files + 1 > most_files then return { 'Quota' } end

local time = redis.call('TIME')
local number = redis.call('HINCRBY', store, 'last', 1)
local version = text(tonumber(time[1]) * 1000000 + tonumber(time[2])) .. '.' .. text(number)
redis.call('HSET', store, 'format', '1')
redis.call('HINCRBY', store, 'bytes', text(size - held))
if kept > 0 then
  if bytes ~= '' then redis.call('APPEND', content(path), bytes) end
else
  redis.call('SET', content(path), bytes)
end
redis.call('HSET', file(path), 'size', text(size), 'version', version, 'labels', labels, 'expires', expires)
if expires == '' then
  redis.call('ZREM', store .. ':x', path)
else
  redis.call('ZADD', store .. ':x', expires, path)
end
if is_new then
  redis.call('HINCRBY', store, 'files', '1')
  local below, existed = path, false
  while below ~= '' and not existed do
    local parent, name = split(below)
    existed = redis.call('EXISTS', names(parent)) == 1
    redis.call('ZADD', names(parent), 0, name)
    if not existed and parent ~= '' and labels ~= '' then redis.call('SET', labels_of(parent), labels) end
    below = parent
  end
end
return { 'Ok', version, text(size), labels }
