-- Files of one store. KEYS[1] is the store's prefix, ARGV[1] the time in microseconds.
--
--   <store>        hash: format, bytes, files, last (the number of the last version given out)
--   <store>:x      sorted set: paths of files that expire, by when
--   <store>:f:PATH hash of a file: size, version, labels, expires ('' for never)
--   <store>:c:PATH its content
--   <store>:n:PATH sorted set: the names in a directory, which exists while the set does; the root's PATH is empty
--   <store>:d:PATH the labels of a directory, if it has some
local store, now = KEYS[1], ARGV[1]

local function file(path) return store .. ':f:' .. path end
local function content(path) return store .. ':c:' .. path end
local function names(path) return store .. ':n:' .. path end
local function labels_of(path) return store .. ':d:' .. path end
local function text(number) return string.format('%.0f', number) end

local function split(path)
  local at = string.match(path, '^.*()/')
  if at then return string.sub(path, 1, at - 1), string.sub(path, at + 1) end
  return '', path
end

-- What is at a path: 'file' or 'directory', or the error.
local function find(path)
  if path == '' then return 'directory' end
  if redis.call('EXISTS', file(path)) == 1 then return 'file' end
  if redis.call('EXISTS', names(path)) == 1 then return 'directory' end
  local above = split(path)
  while above ~= '' do
    if redis.call('EXISTS', file(above)) == 1 then return 'NotDirectory' end
    above = split(above)
  end
  return 'NotFound'
end

-- Removes a file, and the directories that are empty without it.
local function forget(path)
  local size = redis.call('HGET', file(path), 'size') or '0'
  redis.call('DEL', file(path), content(path))
  redis.call('ZREM', store .. ':x', path)
  redis.call('HINCRBY', store, 'bytes', text(0 - tonumber(size)))
  redis.call('HINCRBY', store, 'files', '-1')
  while path ~= '' do
    local parent, name = split(path)
    redis.call('ZREM', names(parent), name)
    if redis.call('EXISTS', names(parent)) == 1 then return end
    redis.call('DEL', labels_of(parent))
    path = parent
  end
end

local function stat(path, kind)
  if kind == 'directory' then
    return { kind, redis.call('GET', labels_of(path)) or '', '0', '', '' }
  end
  local facts = redis.call('HMGET', file(path), 'labels', 'size', 'version', 'expires')
  return { kind, facts[1], facts[2], facts[3], facts[4] }
end

local format = redis.call('HGET', store, 'format')
if format and format ~= '1' then return { 'Format' } end

-- Files whose time has come go before anything is looked at, some at a time so that no script holds the server for long.
local due = redis.call('ZRANGEBYSCORE', store .. ':x', '-inf', now, 'LIMIT', 0, 500)
for _, path in ipairs(due) do forget(path) end
if #due == 500 then return { 'Again' } end

local path = ARGV[2]
local kind = find(path)
