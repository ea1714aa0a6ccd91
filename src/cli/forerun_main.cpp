#include "cli/cli.h"

int main(int argc, char** argv) { return forerun::cli::run_cli(argc, argv); }
