-- ARGV: time, path, first byte, last byte ('' for none)
if kind == 'directory' then return { 'IsDirectory' } end
if kind ~= 'file' then return { kind } end
local facts = stat(path, kind)
if redis.call('STRLEN', content(path)) ~= tonumber(facts[3]) then return { 'Damaged' } end
local bytes = ''
if ARGV[4] ~= '' then bytes = redis.call('GETRANGE', content(path), ARGV[3], ARGV[4]) end
return { 'Ok', facts[2], facts[4], bytes }
