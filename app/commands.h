#pragma once
// The subcommands, one a file. Each adds itself to the command line; what it runs leaves
// by an exception when something is wrong (main turns it into one line and an exit code).

namespace macadam {

class CommandLine;

void add_synth(CommandLine& line);
void add_check(CommandLine& line);
void add_split(CommandLine& line);
void add_pack(CommandLine& line);
void add_train(CommandLine& line);
void add_eval(CommandLine& line);
void add_predict(CommandLine& line);
void add_serve(CommandLine& line);
void add_view(CommandLine& line);
void add_sweep(CommandLine& line);
void add_compare(CommandLine& line);
void add_convert(CommandLine& line);
void add_info(CommandLine& line);

}  // namespace macadam
