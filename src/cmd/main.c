/* main.c - the command line: finds the command and runs it. */
#include "base/base.h"

int main(void) {
    return 0;
}
