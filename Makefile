# StreamHouse: one front door.

include mk/build.mk

.DEFAULT_GOAL := all
.PHONY: all clean
all: programs

clean:
	rm -rf build
