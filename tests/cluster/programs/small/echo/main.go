// Echo answers each line, by TCP and UDP, with "<host name> <line>". Given a folder it also has a memory:
// "remember <text>" appends a line to a file there and syncs it, "recall" answers with the whole file.
//
//	echo PORT [FOLDER]
package main

import (
	"bufio"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

var host, _ = os.Hostname()

func main() {
	if len(os.Args) < 2 || len(os.Args) > 3 {
		log.Fatal("usage: echo PORT [FOLDER]")
	}
	address := ":" + os.Args[1]
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go serveUDP(address)
	go serveTCP(address)
	<-stop
	fmt.Println("stopped")
}

func answer(line string) string {
	word, text, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	switch {
	case word == "remember" && len(os.Args) == 3:
		if err := remember(text); err != nil {
			return "error: " + err.Error()
		}
	case word == "recall" && len(os.Args) == 3:
		content, err := os.ReadFile(memory())
		if err != nil {
			return "error: " + err.Error()
		}
		return host + " " + strings.ReplaceAll(strings.TrimSpace(string(content)), "\n", ",")
	}
	return host + " " + strings.TrimRight(line, "\r\n")
}

func memory() string { return filepath.Join(os.Args[2], "memory") }

func remember(text string) error {
	file, err := os.OpenFile(memory(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, text); err != nil {
		return err
	}
	return file.Sync()
}

func serveUDP(address string) {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		log.Fatal(err)
	}
	buffer := make([]byte, 64*1024)
	for {
		size, from, err := socket.ReadFrom(buffer)
		if err != nil {
			log.Fatal(err)
		}
		socket.WriteTo([]byte(answer(string(buffer[:size]))), from)
	}
}

func serveTCP(address string) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", address)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer connection.Close()
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				fmt.Fprintln(connection, answer(lines.Text()))
			}
		}()
	}
}
