-- Opens a plan that does not fit, waits for the diagnostic, applies the first fix, and writes the file. Ends with an error code where something is missing.
local function fail(message)
  io.stderr:write('neovim: ' .. message .. '\n')
  vim.cmd('cquit 1')
end

local function diagnostics(code)
  return vim.tbl_filter(function(one)
    return (one.code or (one.user_data and one.user_data.lsp and one.user_data.lsp.code)) == code
  end, vim.diagnostic.get(0))
end

local ok, message = pcall(function()
  vim.cmd('edit ' .. vim.fn.fnameescape(vim.env.MEMSPEC_TEST_PLAN))
  assert(vim.bo.filetype == 'mem', 'the file is no `mem`, but `' .. vim.bo.filetype .. '`')
  assert(vim.wait(20000, function()
    return #diagnostics('peak-over-budget') > 0
  end, 20), 'no diagnostic came')
  local found = diagnostics('peak-over-budget')[1]
  print('found: ' .. vim.split(found.message, '\n')[1])

  -- what `vim.lsp.buf.code_action()` would show, the first of them taken
  vim.api.nvim_win_set_cursor(0, { found.lnum + 1, found.col })
  local shown
  vim.ui.select = function(items, options, choose)
    shown = items
    choose(items[1], 1)
  end
  vim.lsp.buf.code_action()
  assert(vim.wait(20000, function()
    return shown ~= nil
  end, 20), 'no fix was offered')
  local first = shown[1].action or shown[1][2]
  print('took: ' .. first.title)
  assert(vim.wait(20000, function()
    return #diagnostics('peak-over-budget') == 0
  end, 20), 'the fix did not repair it')
  vim.cmd('write')
end)

if ok then
  vim.cmd('qall!')
else
  fail(message)
end
