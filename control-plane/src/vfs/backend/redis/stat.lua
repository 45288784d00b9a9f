-- ARGV: time, path
if kind ~= 'file' and kind ~= 'directory' then return { kind } end
local facts = stat(path, kind)
return { 'Ok', facts[1], facts[2], facts[3], facts[4], facts[5] }
