-- ARGV: time, path, expected version ('' for any)
if kind == 'directory' then return { 'IsDirectory' } end
if kind ~= 'file' then return { kind } end
if ARGV[3] ~= '' and ARGV[3] ~= redis.call('HGET', file(path), 'version') then return { 'Conflict' } end
forget(path)
return { 'Ok' }
