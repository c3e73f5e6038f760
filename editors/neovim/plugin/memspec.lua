-- `.mem` files: their type, and the language server. Copy this folder into ~/.config/nvim.
if vim.g.loaded_memspec then
  return
end
vim.g.loaded_memspec = true

local group = vim.api.nvim_create_augroup('memspec', {})

vim.api.nvim_create_autocmd({ 'BufRead', 'BufNewFile' }, {
  group = group,
  pattern = '*.mem',
  callback = function()
    vim.bo.filetype = 'mem'
  end,
})

if vim.lsp.config and vim.lsp.enable then
  vim.lsp.enable('memspec')
else
  vim.api.nvim_create_autocmd('FileType', {
    group = group,
    pattern = require('memspec').filetypes(),
    callback = function(event)
      require('memspec').attach(event and event.buf or vim.api.nvim_get_current_buf())
    end,
  })
end
