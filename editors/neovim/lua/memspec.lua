-- The client for memspec-lint's language server.
local M = {}

-- What the server is started as: `vim.g.memspec_command`, else the one of a virtual environment above the file, else the one on PATH.
function M.command(folder)
  if vim.g.memspec_command then
    local command = vim.g.memspec_command
    return type(command) == 'table' and command or { command, 'server' }
  end
  for _, name in ipairs({ '.venv', 'venv' }) do
    local found = vim.fn.finddir(name, vim.fn.fnameescape(folder or vim.fn.getcwd()) .. ';')
    local program = found ~= '' and vim.fn.fnamemodify(found, ':p') .. 'bin/memspec-lint' or ''
    if program ~= '' and vim.fn.executable(program) == 1 then
      return { program, 'server' }
    end
  end
  return { 'memspec-lint', 'server' }
end

-- What the server is told: `vim.g.memspec = { device = 't4', inlayHints = true, codeLens = true }`.
function M.options()
  return vim.g.memspec or vim.empty_dict()
end

-- The types of files that it looks at. Of YAML it takes plans and leaves the rest alone: `vim.g.memspec_filetypes = { 'mem' }` for plans in `.mem` alone.
function M.filetypes()
  return vim.g.memspec_filetypes or { 'mem', 'yaml' }
end

-- The folder that a file's plans belong to: that of its memspec.toml, else of its repository, else its own.
function M.root(file)
  local folder = vim.fn.fnamemodify(file, ':p:h')
  local toml = vim.fn.findfile('memspec.toml', vim.fn.fnameescape(folder) .. ';')
  if toml ~= '' then
    return vim.fn.fnamemodify(toml, ':p:h')
  end
  local git = vim.fn.finddir('.git', vim.fn.fnameescape(folder) .. ';')
  if git ~= '' then
    return vim.fn.fnamemodify(git, ':p:h:h')
  end
  return folder
end

-- Starts the server for a buffer, or takes the one that runs for its folder: for Neovim before 0.11.
local clients = {}

function M.attach(buffer)
  local root = M.root(vim.api.nvim_buf_get_name(buffer))
  local client = clients[root]
  if not client or not vim.lsp.get_client_by_id(client) then
    local command = M.command(root)
    if vim.fn.executable(command[1]) == 0 then
      vim.notify_once('memspec: `' .. command[1] .. '` is not there; `pip install memspec-lint`, or set vim.g.memspec_command')
      return
    end
    client = vim.lsp.start_client({
      name = 'memspec',
      cmd = command,
      root_dir = root,
      init_options = M.options(),
    })
    clients[root] = client
  end
  if client then
    vim.lsp.buf_attach_client(buffer, client)
  end
end

return M
