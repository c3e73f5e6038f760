-- Neovim 0.11 and newer: `vim.lsp.enable('memspec')` reads this.
local memspec = require('memspec')

return {
  cmd = function(dispatchers, config)
    return vim.lsp.rpc.start(memspec.command(config and config.root_dir), dispatchers)
  end,
  filetypes = memspec.filetypes(),
  root_markers = { 'memspec.toml', '.git' },
  init_options = memspec.options(),
}
