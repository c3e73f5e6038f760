" Colours of a plan without its meaning; the server knows more (semantic tokens).
if exists('b:current_syntax')
  finish
endif

syntax match memComment /#.*/ contains=memDirective
syntax match memDoc /##\ze\_[^#]\@=.*/
syntax match memDirective /memspec:\s*\(file-\)\?allow(.\{-})/ contained
syntax region memText start=/"/ skip=/\\./ end=/"\|$/
syntax match memNumber /\<\d[0-9_]*\(\.\d[0-9_]*\)\?\([eE][+-]\?\d\+\)\?\(%\|\a\w*\)\?/
syntax keyword memItem mem import as let plan profile extends
syntax keyword memWord fit sweep assert else and or not
syntax keyword memBool true false
syntax keyword memFunction min max ceil env
syntax match memSetting /\<\h\w*\ze\s*=[^=]/
syntax match memBlock /\<\h\w*\ze\(\s\+\h\w*\)\?\s*{/
syntax match memOperator /[-+*\/=<>!]\+/

highlight default link memComment Comment
highlight default link memDoc SpecialComment
highlight default link memDirective PreProc
highlight default link memText String
highlight default link memNumber Number
highlight default link memItem Keyword
highlight default link memWord Statement
highlight default link memBool Boolean
highlight default link memFunction Function
highlight default link memSetting Identifier
highlight default link memBlock Type
highlight default link memOperator Operator

let b:current_syntax = 'mem'
