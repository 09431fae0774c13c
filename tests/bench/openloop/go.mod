module authgate.dev/bench/openloop

go 1.24
